/** The server that is started for an image lives as long as the process that has started it. */
import assert from 'node:assert/strict';
import { globSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openDisk } from '../../../common/disk/open-disk.ts';
import { openImage, openRbd } from '../../../common/nbd/open-image.ts';
import { coded } from '../../support/coded.ts';
import { bounded, environment, until } from '../../support/processes.ts';
import { unlessInstalled } from '../../support/requires.ts';
import { runOk, start } from '../../support/run.ts';
import { tempDir } from '../../support/temp-dir.ts';

const skip = unlessInstalled('qemu-img', 'qemu-nbd');
const code = 'target-refused';

/** Of servers whose socket is below the folder. */
async function serversOf(folder: string): Promise<number[]> {
  const found: number[] = [];
  for (const path of globSync('/proc/[0-9]*/cmdline')) {
    const words = (await readFile(path, 'utf8').catch(() => '')).split('\0');
    const isServer = words[0] === 'qemu-nbd' && words.some((word) => word.startsWith(folder));
    if (isServer) found.push(Number(path.split('/')[2]));
  }
  return found;
}

/** An empty image, and a folder for the socket. */
async function makeImage(folder: string): Promise<string> {
  const path = join(folder, 'disk.qcow2');
  await runOk('qemu-img', ['create', '-q', '-f', 'qcow2', path, '4M']);
  await mkdir(join(folder, 'tmp'));
  return path;
}

/** Opens an image for writing, and waits. */
const HOLDER = `
const { openDisk } = await import(process.argv[1] + '/common/disk/open-disk.ts');
const { openImage } = await import(process.argv[1] + '/common/nbd/open-image.ts');
const file = await openDisk(process.argv[2], 'target-refused');
const opened = await openImage(file, 'qcow2', { isWritable: true, code: 'target-refused' });
await opened.disk.write(Buffer.alloc(65536, 7), 0);
await opened.disk.flush();
console.log('written');
opened.disk.reportOutages((sentence) => console.log(sentence));
process.once('SIGUSR2', async () => {
  const back = Buffer.alloc(65536);
  await opened.disk.read(back, 0);
  console.log(back.equals(Buffer.alloc(65536, 7)) ? 'equal' : 'different');
});
setInterval(() => {}, 1000);
`;

for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
  test(`the server and its folder are gone after ${signal} for its process`, { skip }, async () => {
    await using folder = await tempDir();
    const path = await makeImage(folder.path);
    const project = fileURLToPath(new URL('../../..', import.meta.url));
    await using holder = await start(
      process.execPath,
      ['--input-type=module', '--eval', HOLDER, project, path],
      { env: environment({ TMPDIR: join(folder.path, 'tmp') }) },
    );
    await holder.waitForLine(/^written/);
    assert.equal((await serversOf(folder.path)).length, 1);
    assert.equal(globSync(join(folder.path, 'tmp/ddt-nbd-*')).length, 1);
    holder.kill(signal);
    await until('the server to end', async () => (await serversOf(folder.path)).length === 0);
    await until('the folder to be gone', () => globSync(join(folder.path, 'tmp/*')).length === 0);
    await runOk('qemu-img', ['check', '-q', path]);
  });
}

test('a server that is killed is started again, and found', { skip }, async () => {
  await using folder = await tempDir();
  const path = await makeImage(folder.path);
  const project = fileURLToPath(new URL('../../..', import.meta.url));
  await using holder = await start(
    process.execPath,
    ['--input-type=module', '--eval', HOLDER, project, path],
    { env: environment({ TMPDIR: join(folder.path, 'tmp') }) },
  );
  await holder.waitForLine(/^written/);
  const [server = -1] = await serversOf(folder.path);
  process.kill(server, 'SIGKILL');
  await holder.waitForLine(/ is gone: /);
  await holder.waitForLine(/ is back after /);
  holder.kill('SIGUSR2');
  await holder.waitForLine(/^equal/);
  const [next = -1] = await serversOf(folder.path);
  assert.notEqual(next, server);
});

test('disposing it closes the image', { skip }, async () => {
  await using folder = await tempDir();
  const path = await makeImage(folder.path);
  await using file = await openDisk(path, code);
  {
    await using opened = await openImage(file, 'qcow2', { isWritable: true, code });
    await opened.disk.write(Buffer.from('hello'), 4096);
    const second = openImage(file, 'qcow2', { isWritable: true, code });
    await assert.rejects(bounded('the lock', second), coded(code, { message: /lock/, hint: /stop/ }));
  }
  await runOk('qemu-img', ['convert', '-O', 'raw', path, join(folder.path, 'raw')]);
  const raw = await readFile(join(folder.path, 'raw'));
  assert.equal(raw.toString('latin1', 4096, 4101), 'hello');
});

test('what qemu-nbd says becomes a sentence', { skip }, async () => {
  await using folder = await tempDir();
  const path = await makeImage(folder.path);
  await using file = await openDisk(path, code);
  const asVdi = openImage(file, 'vdi', { isWritable: false, code });
  const said = /^cannot open .*disk\.qcow2: .*VDI image/;
  await assert.rejects(asVdi, coded(code, { message: said }));
  const volume = openRbd('rbd:none/none:conf=/nowhere', { isWritable: false, code });
  await assert.rejects(
    bounded('the refusal', volume),
    coded(code, { message: /^cannot open rbd:none\/none/ }),
  );
});
