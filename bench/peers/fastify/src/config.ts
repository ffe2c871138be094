import process from "node:process"

const required = (name: string): string => {
  const value = process.env[name]
  if (!value) throw new Error(`${name} is not set`)
  return value
}

export const config = {
  host: process.env["HOST"] ?? "127.0.0.1",
  port: Number(process.env["PORT"] ?? 3000),
  logLevel: process.env["LOG_LEVEL"] ?? "info",
  databaseUrl: required("DATABASE_URL"),
  poolSize: Number(process.env["DATABASE_POOL_SIZE"] ?? 10),
  jwtSecret: required("JWT_SECRET")
}
export type Config = typeof config
