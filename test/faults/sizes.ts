/**
 * How long and how often. `FAULTS=full`, which the task `test:faults` sets, does what the table in README.md asks for;
 * anything else, as `short`, does it fewer times, so that every change can be tried.
 */
import process from "node:process"

export const isFull = process.env["FAULTS"] === "full"

export const size = (short: number, full: number): number => isFull ? full : short
