import { defineConfig } from "rolldown"

export default defineConfig({
  input: { main: "src/main.ts", migrate: "src/migrate.ts", restored: "src/restored.ts" },
  platform: "node",
  // these bring native code or WebAssembly, and find their files by their own place
  external: [/^@node-rs\//, /^@electric-sql\//],
  resolve: {
    // ES modules where a package has them: what is not used falls out of the bundle
    mainFields: ["module", "main"]
  },
  output: {
    dir: "dist",
    format: "esm",
    cleanDir: true,
    entryFileNames: "[name].js",
    // what is imported lazily stays apart, so that the process holds only what it uses
    chunkFileNames: "chunks/[name]-[hash].js",
    // names stay, so that stack traces tell something
    minify: "dce-only"
  }
})
