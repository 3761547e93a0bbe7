import { parentPort } from 'node:worker_threads'

/** A worker thread that keeps a processor busy, and posts which part of the time it was given. */
const SPIN_MS = 200

const began = performance.now()
const before = process.threadCpuUsage()
while (performance.now() - began < SPIN_MS);
const { user, system } = process.threadCpuUsage(before)
parentPort?.postMessage((user + system) / 1_000 / (performance.now() - began))
