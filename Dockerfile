# docker build -t tasks-api . — any Debian image with Node 24 can be the base
ARG BASE_IMAGE=node:24-bookworm-slim

FROM ${BASE_IMAGE} AS build
WORKDIR /build
# the packages first: this layer stays as long as the lock file does
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-audit
COPY . .
RUN npm run bundle && bash scripts/assemble.sh /app && mkdir /data

FROM ${BASE_IMAGE}
# what DATABASE_URL replaces; only written to when it is not set
COPY --from=build --chown=10001:10001 /data /data
# root's, so that the process can't change its own code; it needs no writable place but DATA_DIR, and /tmp for exports
COPY --from=build /app /app
WORKDIR /app
# by number: no base image has to know the user, and an orchestrator can see that it isn't root
USER 10001:10001

# Hashing shares libuv's threads with everything else: twice the default.
# Node's own limits grow with the machine: these halve what a busy process holds, for a little more CPU time.
ENV NODE_ENV=production \
  APP_ENV=production \
  HOST=0.0.0.0 \
  PORT=3000 \
  DATA_DIR=/data \
  UV_THREADPOOL_SIZE=8 \
  NODE_OPTIONS="--max-semi-space-size=16 --max-old-space-size=256"

EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/health/live`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]

# "node dist/migrate.js" brings the database to this version's schema
CMD ["node", "dist/main.js"]
