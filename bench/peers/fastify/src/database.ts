import type { FastifyBaseLogger } from "fastify"
import pg from "pg"
import type { Config } from "./config.ts"

// versions stay far below 2 ** 53
pg.types.setTypeParser(pg.types.builtins.INT8, Number)

export const createPool = ({ databaseUrl, poolSize }: Config, log: FastifyBaseLogger): pg.Pool => {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: poolSize })
  pool.on("error", (error) => log.error(error, "an idle connection was lost"))
  return pool
}
