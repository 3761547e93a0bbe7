import { parentPort } from 'node:worker_threads'

/** A worker thread that computes for this long and posts the share of a processor that it got. Milliseconds. */
const DURATION_MS = 200

const began = performance.now()
const before = process.threadCpuUsage()
while (performance.now() - began < DURATION_MS);
const { user, system } = process.threadCpuUsage(before)
parentPort?.postMessage((user + system) / 1_000 / (performance.now() - began))
