import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'

import { FileNotFoundError, FileType, InvalidArgumentError, SandboxError } from 'e2b'

import { freshFolder, sharedSandbox } from './support.mjs'

const shared = sharedSandbox()
const files = () => shared.sandbox.files

async function drain(stream) {
  const pieces = []
  for await (const piece of stream) pieces.push(piece)
  return Buffer.concat(pieces).toString()
}

test('write says what was written and replaces what was there', async () => {
  const written = await files().write('relative.txt', 'a longer first content')
  assert.equal(written.name, 'relative.txt')
  assert.equal(written.type, FileType.FILE)
  assert.equal(written.path, '/home/user/relative.txt')
  await files().write('relative.txt', 'second')
  assert.equal(await files().read('/home/user/relative.txt'), 'second')
})

test('every kind of data, as multipart and as octets', async () => {
  const folder = await freshFolder(shared.sandbox)
  for (const useOctetStream of [false, true]) {
    const content = 'Grüße 🦕'
    const kinds = {
      string: content,
      buffer: new TextEncoder().encode(content).buffer,
      blob: new Blob([content]),
      stream: new Blob([content]).stream(),
    }
    for (const [name, data] of Object.entries(kinds)) {
      await files().write(`${folder}/${name}`, data, { useOctetStream })
      assert.equal(await files().read(`${folder}/${name}`), content, name)
    }
  }
})

test('read as text, bytes, blob and stream', async () => {
  const folder = await freshFolder(shared.sandbox)
  for (const content of ['content ü', '']) {
    await files().write(`${folder}/f`, content)
    assert.equal(await files().read(`${folder}/f`), content)
    assert.equal(Buffer.from(await files().read(`${folder}/f`, { format: 'bytes' })).toString(), content)
    assert.equal(await (await files().read(`${folder}/f`, { format: 'blob' })).text(), content)
    assert.equal(await drain(await files().read(`${folder}/f`, { format: 'stream' })), content)
  }
})

test('missing files are FileNotFoundError in every format', async () => {
  for (const format of ['text', 'bytes', 'blob', 'stream']) {
    await assert.rejects(files().read('/no/such/file', { format }), FileNotFoundError, format)
  }
  await assert.rejects(files().getInfo('/no/such/file'), FileNotFoundError)
  await assert.rejects(files().list('/no/such/folder'), FileNotFoundError)
  await assert.rejects(files().rename('/no/such/file', '/tmp/other'), FileNotFoundError)
  assert.equal(await files().exists('/no/such/file'), false)
  await files().remove('/no/such/file')
})

test('large file survives the round trip', async () => {
  const data = new Uint8Array(32 * 1024 * 1024).map((_, index) => index % 251)
  await files().write('large', data.buffer)
  const read = await files().read('large', { format: 'bytes' })
  assert.equal(Buffer.compare(Buffer.from(read), Buffer.from(data)), 0)
})

test('many files in one call', async () => {
  assert.deepEqual(await files().writeFiles([]), [])
  const folder = await freshFolder(shared.sandbox)
  const root = `/${randomUUID().slice(0, 8)}`
  const entries = Array.from({ length: 9 }, (_, index) => ({ path: `${folder}/${index}/f.txt`, data: `content ${index}` }))
  entries.push({ path: `${root}/f.txt`, data: 'at the root' })
  const written = await files().write(entries)
  assert.deepEqual(written.map(({ path }) => path), entries.map(({ path }) => path))
  for (const { path, data } of entries) assert.equal(await files().read(path), data)
})

test('gzip up and down', async () => {
  const folder = await freshFolder(shared.sandbox)
  const text = 'squeeze me '.repeat(10_000)
  await files().write(`${folder}/f`, text, { gzip: true })
  assert.equal((await files().getInfo(`${folder}/f`)).size, text.length)
  assert.equal(await files().read(`${folder}/f`), text)
  assert.equal(await files().read(`${folder}/f`, { gzip: true }), text)
  assert.equal(Buffer.from(await files().read(`${folder}/f`, { format: 'bytes', gzip: true })).toString(), text)
  await files().writeFiles([{ path: `${folder}/a`, data: 'a' }, { path: `${folder}/b`, data: 'b' }], { gzip: true })
  assert.equal(await files().read(`${folder}/b`), 'b')
})

test('info of files, directories and links', async () => {
  const folder = await freshFolder(shared.sandbox)
  await files().write(`${folder}/f`, '1234')
  const file = await files().getInfo(`${folder}/f`)
  assert.deepEqual(
    [file.name, file.type, file.path, file.size, file.mode, file.permissions, file.owner, file.group],
    ['f', FileType.FILE, `${folder}/f`, 4, 0o644, '-rw-r--r--', 'user', 'user'],
  )
  assert.ok(Math.abs(file.modifiedTime.getTime() - Date.now()) < 60_000)
  assert.equal(file.symlinkTarget, undefined)
  assert.equal(file.metadata, undefined)
  const directory = await files().getInfo(folder)
  assert.deepEqual([directory.type, directory.mode, directory.permissions], [FileType.DIR, 0o755, 'drwxr-xr-x'])
  assert.ok(directory.size > 0)
  await shared.sandbox.commands.run('ln -s f link', { cwd: folder })
  assert.equal((await files().getInfo(`${folder}/link`)).symlinkTarget, `${folder}/f`)
})

test('list goes as deep as asked', async () => {
  const folder = await freshFolder(shared.sandbox)
  assert.deepEqual(await files().list(folder), [])
  const tree = 'subdir1/subdir1_1 subdir1/subdir1_2 subdir2/subdir2_1 subdir2/subdir2_2'
  await shared.sandbox.commands.run(`mkdir -p ${tree}; echo x > file1.txt`, { cwd: folder })
  const names = async (options) => (await files().list(folder, options)).map(({ name }) => name)
  const shallow = ['file1.txt', 'subdir1', 'subdir2']
  const deep = ['file1.txt', 'subdir1', 'subdir1_1', 'subdir1_2', 'subdir2', 'subdir2_1', 'subdir2_2']
  assert.deepEqual(await names(), shallow)
  assert.deepEqual(await names({ depth: 1 }), shallow)
  assert.deepEqual(await names({ depth: 2 }), deep)
  assert.deepEqual(await names({ depth: 3 }), deep)
  await assert.rejects(names({ depth: -1 }), /depth should be at least one/)
  await assert.rejects(files().list(`${folder}/file1.txt`), SandboxError)
})

test('make, rename, remove, exists', async () => {
  const folder = await freshFolder(shared.sandbox)
  assert.equal(await files().makeDir(folder), false)
  assert.equal(await files().makeDir(`${folder}/x/y`), true)
  await files().write(`${folder}/old`, 'content')
  const renamed = await files().rename(`${folder}/old`, `${folder}/x/new`)
  assert.deepEqual([renamed.name, renamed.type, renamed.path], ['new', FileType.FILE, `${folder}/x/new`])
  assert.equal(await files().exists(`${folder}/old`), false)
  assert.equal(await files().read(`${folder}/x/new`), 'content')
  await files().remove(`${folder}/x`)
  assert.equal(await files().exists(`${folder}/x/new`), false)
})

test('metadata is kept with the file', async () => {
  const folder = await freshFolder(shared.sandbox)
  const metadata = { author: 'mish', purpose: 'test' }
  for (const useOctetStream of [false, true]) {
    const path = `${folder}/${useOctetStream}`
    assert.deepEqual((await files().write(path, 'x', { metadata, useOctetStream })).metadata, metadata)
    assert.deepEqual((await files().getInfo(path)).metadata, metadata)
    assert.deepEqual((await files().rename(path, `${path}-moved`)).metadata, metadata)
    await files().write(`${path}-moved`, 'plain')
    assert.equal((await files().getInfo(`${path}-moved`)).metadata, undefined)
  }
  await assert.rejects(files().write(`${folder}/bad`, 'x', { metadata: { 'not a key': 'x' } }), InvalidArgumentError)
  assert.equal(await files().exists(`${folder}/bad`), false)
})

test('signed URLs', async () => {
  const routed = { 'E2b-Sandbox-Id': shared.sandbox.sandboxId, 'E2b-Sandbox-Port': '49983' }
  await files().write('signed.txt', 'signed content')
  const url = await shared.sandbox.downloadUrl('signed.txt', { useSignatureExpiration: 60_000 })
  assert.equal(await (await fetch(url, { headers: routed })).text(), 'signed content')
  const form = new FormData()
  form.append('file', new Blob(['uploaded']), 'up.txt')
  const upload = await shared.sandbox.uploadUrl('up.txt', { user: 'root' })
  const answer = await fetch(upload, { method: 'POST', body: form, headers: routed })
  assert.deepEqual(await answer.json(), [{ name: 'up.txt', path: '/root/up.txt', type: 'file' }])
  const forged = url.replace(/signature=v1_[^&]+/, 'signature=v1_AAAA')
  assert.equal((await fetch(forged, { headers: routed })).status, 401)
})
