import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Sandbox } from 'e2b'

import { sharedSandbox, waitUntil } from './support.mjs'

const shared = sharedSandbox()

async function firstPoints() {
  await waitUntil(async () => (await shared.sandbox.getMetrics()).length > 0, 'a first point has come', 40_000)
  return shared.sandbox.getMetrics()
}

test('metrics have every field, of this sandbox', async () => {
  const info = await shared.sandbox.getInfo()
  const [point] = await firstPoints()
  assert.equal(point.cpuCount, info.cpuCount)
  assert.equal(point.memTotal, info.memoryMB * 1024 * 1024)
  assert.ok(point.memUsed > 0 && point.memUsed < point.memTotal)
  assert.ok(point.cpuUsedPct >= 0 && point.cpuUsedPct <= 100)
  assert.ok(point.diskUsed > 0 && point.diskUsed < point.diskTotal)
  assert.ok(Math.abs(point.timestamp - Date.now()) < 120_000)
})

test('metrics of a range, by instance and by ID', async () => {
  await firstPoints()
  const now = new Date()
  const day = 86_400_000
  assert.deepEqual(await shared.sandbox.getMetrics({ start: new Date(now - 2 * day), end: new Date(now - day) }), [])
  assert.ok((await Sandbox.getMetrics(shared.sandbox.sandboxId, { start: new Date(now - 1_800_000), end: now })).length > 0)
})
