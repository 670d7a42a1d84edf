/** SIGHUP: from a terminal that is gone, as when ssh loses its connection, or from kill(1). */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { prng } from '../support/prng.ts';
import {
  MIB,
  PROGRAMS,
  assertEqualFiles,
  bounded,
  environment,
  startReceiver,
  startSender,
  until,
  type Receiver,
} from '../support/processes.ts';
import { run, start } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';

const skip = (await run('bash', ['-c', 'command -v script'])).status !== 0 && 'not installed: script';
const SEND = join(PROGRAMS, 'ddt-send');

interface Scene extends AsyncDisposable {
  readonly folder: string;
  /** Takes two seconds with {@link LIMIT}. */
  readonly source: string;
  readonly target: string;
  readonly receiver: Receiver;
}

const LIMIT = '1M';

async function makeScene(): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await tempDir());
  const [source, target] = [join(folder.path, 'source'), join(folder.path, 'target')];
  await writeFile(source, prng(3).bytes(2 * MIB));
  const receiver = stack.use(await startReceiver({ folder: folder.path, target }));
  const owned = stack.move();
  return {
    folder: folder.path,
    source,
    target,
    receiver,
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  };
}

/** Runs a command on a terminal, and takes the terminal away when blocks are durable. */
async function hangUp({ receiver }: Scene, command: string): Promise<void> {
  await using terminal = await start('script', ['-qec', command, '/dev/null'], { env: environment() });
  await until('blocks to be durable', async () => (await receiver.durableCount()) > 0);
  // The terminal is script's own; its end is a hangup for what runs on it.
  terminal.kill('SIGKILL');
}

test('the copy of a file outlives its terminal', { skip }, async () => {
  await using scene = await makeScene();
  const { source, target, receiver } = scene;
  const options = `--bwlimit ${LIMIT} --block-size 64KiB --ticket-file ${receiver.ticketFile}`;
  await hangUp(scene, `${SEND} ${options} ${source}`);
  assert.equal((await receiver.status()).state, 'open');
  await until('the seal', async () => (await receiver.status()).state === 'sealed');
  await assertEqualFiles(source, target);
});

test(
  'a copy from a pipe ends with 129 when its terminal is gone: the pipe may end early',
  { skip },
  async () => {
    await using scene = await makeScene();
    const { source, receiver } = scene;
    const statusFile = join(scene.folder, 'status');
    const limitFile = join(scene.folder, 'limit');
    await writeFile(limitFile, LIMIT);
    const options = `--bwlimit @${limitFile} --block-size 64KiB --ticket-file ${receiver.ticketFile}`;
    const survivor = `trap '' HUP; { ${SEND} ${options} -; echo $? > ${statusFile}; }`;
    await hangUp(scene, `cat ${source} | (${survivor})`);
    const statusOf = async (): Promise<string> => await readFile(statusFile, 'utf8').catch(() => '');
    await until('the end', async () => (await statusOf()) !== '');
    assert.equal(await statusOf(), '129\n');
    assert.equal((await receiver.status()).state, 'open');
  },
);

for (const { options, status, what } of [
  { options: ['--bwlimit', LIMIT], status: 129, what: 'a pipe of unknown size is interrupted' },
  { options: ['--bwlimit', LIMIT, '--source-size', '2M'], status: 0, what: 'a pipe of known size continues' },
  { options: ['--bwlimit', '@limit'], status: 0, what: 'a pipe whose limit is in a file continues' },
]) {
  test(`kill -HUP: ${what}`, async () => {
    await using scene = await makeScene();
    const { folder, source, receiver } = scene;
    await writeFile(join(folder, 'limit'), LIMIT);
    const args = options.map((option) => (option === '@limit' ? `@${join(folder, 'limit')}` : option));
    const all = [...args, '--block-size', '64KiB', '--ticket-file', receiver.ticketFile, '-'];
    await using sender = await startSender(all);
    sender.stdin.end(await readFile(source));
    await until('blocks to be durable', async () => (await receiver.durableCount()) > 0);
    sender.kill('SIGHUP');
    const ended = await bounded('the sender to end', sender.ended);
    assert.equal(ended.status, status, ended.stderr);
    assert.equal(ended.stderr.includes('note     hangup: the copy continues\n'), status === 0);
    assert.equal((await receiver.status()).state, status === 0 ? 'sealed' : 'open');
  });
}

test('kill -HUP: the copy of a file continues, without any limit too', async () => {
  await using scene = await makeScene();
  await writeFile(scene.source, prng(4).bytes(64 * MIB));
  await using sender = await startSender(['--connections', '1', scene.source, scene.receiver.ticket]);
  await until('blocks to be durable', async () => (await scene.receiver.durableCount()) > 0);
  sender.kill('SIGHUP');
  assert.equal((await bounded('the sender to end', sender.ended)).status, 0);
  await assertEqualFiles(scene.source, scene.target);
});
