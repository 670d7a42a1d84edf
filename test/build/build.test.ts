/** The one file for this machine: made as `npm run build` does, and run where nothing is installed. */
import assert from 'node:assert/strict';
import { copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { programName, readProgram, type Architecture } from '../../common/program/program.ts';
import { VERSION_TEXT } from '../../common/protocol/version.ts';
import { MACHINES } from '../../scripts/build/elf.ts';
import { PROCESSORS } from '../../scripts/build/libatomic.ts';
import { MIB, assertEqualFiles, environment, startReceiver, until } from '../support/processes.ts';
import { prng } from '../support/prng.ts';
import { unlessInstalled, unlessRoot } from '../support/requires.ts';
import { run, runOk, start, type Ended } from '../support/run.ts';
import { skipUnlessStrace, strace } from '../support/strace.ts';
import { tempDir } from '../support/temp-dir.ts';

const PROJECT = resolve(import.meta.dirname, '../..');
const ARCHITECTURE: Architecture = process.arch === 'arm64' ? 'arm64' : 'x64';
const BUILD_TIMEOUT_MS = 120_000;

let folder = '';
let program = '';

async function buildInto(out: string, ...options: readonly string[]): Promise<string> {
  const script = join(PROJECT, 'scripts/build/build.ts');
  const args = [script, '--arch', ARCHITECTURE, '--out', out, ...options];
  return await runOk(process.execPath, args, { cwd: PROJECT, timeoutMs: BUILD_TIMEOUT_MS });
}

before(async () => {
  await mkdir(join(PROJECT, '.tmp'), { recursive: true });
  folder = await mkdtemp(join(PROJECT, '.tmp/test-'));
  const printed = await buildInto(folder);
  assert.match(printed, /^ddt-linux-\S+  [\d.]+ MiB, gzip [\d.]+ MiB, zstd [\d.]+ MiB, starts in \d+ ms\n$/);
  program = join(folder, programName(ARCHITECTURE));
  for (const name of ['ddt', 'ddt-send', 'ddt-receive', 'ddt-fleet'])
    await symlink(basename(program), join(folder, name));
});

after(async () => await rm(folder, { recursive: true, force: true }));

/** By its name alone, as a shell finds it. */
async function runByName(name: string, ...words: readonly string[]): Promise<Ended> {
  return await run(name, words, { env: environment({ PATH: `${folder}:${process.env['PATH'] ?? ''}` }) });
}

test(
  'two builds are equal; digests and signature are good',
  { skip: unlessInstalled('ssh-keygen') },
  async () => {
    await using other = await tempDir();
    const key = join(other.path, 'key');
    await runOk('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key]);
    await buildInto(other.path, '--sign', key);
    await assertEqualFiles(program, join(other.path, basename(program)));
    await runOk('sha256sum', ['--check', '--strict', 'SHA256SUMS'], { cwd: other.path });
    const sums = await readFile(join(other.path, 'SHA256SUMS'), 'utf8');
    const allowed = join(other.path, 'allowed');
    await writeFile(allowed, `releases ${await readFile(`${key}.pub`, 'utf8')}`);
    const names = ['-f', allowed, '-I', 'releases', '-n', 'file'];
    const verify = ['-Y', 'verify', ...names, '-s', join(other.path, 'SHA256SUMS.sig')];
    assert.equal((await run('ssh-keygen', verify, { input: sums })).status, 0);
    assert.notEqual((await run('ssh-keygen', verify, { input: sums.replace('x64', 'x46') })).status, 0);
    const { sha256 = '' } = (await readProgram(program, ARCHITECTURE)) ?? {};
    assert.equal(sums, `${sha256}  ${basename(program)}\n`);
  },
);

test('it is the command that it is called by, or its first argument', async () => {
  const calls = ['ddt', 'ddt-send', 'ddt-receive', 'ddt-fleet', 'ddt send', 'ddt receive', 'ddt fleet'];
  for (const words of calls) {
    const [name = '', ...rest] = words.split(' ');
    const { stdout, stderr } = await runByName(name, ...rest, '--version');
    assert.deepEqual([stdout, stderr], [`${VERSION_TEXT}\n`, ''], words);
  }
  assert.match((await runByName('ddt', 'receive', '--help')).stdout, /^Usage: ddt-receive /);
  assert.match((await runByName('ddt-send', '--help')).stdout, /^Usage: ddt-send /);
  assert.match((await runByName('ddt', '--help')).stdout, /^Usage: ddt send .*\n +ddt receive /);
  for (const word of [[], ['sned'], ['constructor']]) {
    const { status, stderr } = await runByName('ddt', ...word);
    assert.equal(status, 2);
    assert.equal(
      stderr,
      'ddt: error: the first argument must be send, receive or fleet\nddt: hint: ddt --help\n',
    );
  }
});

test('it has the licenses of all that is in it', async () => {
  const { stdout } = await runByName('ddt', '--licenses');
  const titles = Array.from(stdout.matchAll(/^=== (.+) ===$/gm), ([, title]) => title);
  const { dependencies } = JSON.parse(await readFile(join(PROJECT, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  const wanted = ['dd-transfer', 'Node.js', ...Object.keys(dependencies), '@napi-rs/blake-hash'];
  assert.deepEqual(
    wanted.filter((name) => !titles.includes(name)),
    [],
  );
  assert.match(stdout, /=== tweetnacl ===\n\nThis is free and unencumbered/);
});

test('it has as many threads as the launcher of the source tree gives', async () => {
  const [shell, own] = await Promise.all(
    ['launch.sh', 'build/launch.ts'].map(
      async (name) => await readFile(join(PROJECT, 'scripts', name), 'utf8'),
    ),
  );
  const counts = (text: string | undefined, pattern: RegExp): string[] =>
    Array.from(text?.matchAll(pattern) ?? [], ([, count = '']) => count).sort();
  const expected = counts(shell, /UV_THREADPOOL_SIZE:-(\d+)/g);
  assert.equal(expected.length, 2);
  assert.deepEqual(counts(own, /(?:send|receive): '(\d+)'/g), expected);
});

test('options for Node.js in the environment change nothing', async () => {
  const env = environment({ NODE_OPTIONS: '--no-such-option' });
  assert.equal(await runOk(join(folder, 'ddt-send'), ['--version'], { env }), `${VERSION_TEXT}\n`);
});

test('a copy with BLAKE3 needs no libatomic, and no programs in /tmp', { skip: unlessRoot }, async () => {
  await using place = await tempDir();
  const source = join(place.path, 'source');
  await writeFile(source, prng(3).bytes(8 * MIB));
  const library = '/lib/$(uname -m)-linux-gnu/libatomic.so.1';
  // The project may be in /tmp.
  const hide =
    `mount --bind '${folder}' /mnt; mount --bind /tmp /tmp; mount -o remount,bind,noexec /tmp; ` +
    `[ ! -e ${library} ] || mount --bind /dev/null ${library}; exec "$@"`;
  const under = ['unshare', '--mount', 'sh', '-e', '-c', hide, 'sh'];
  await using receiver = await startReceiver({
    folder: place.path,
    target: join(place.path, 'target'),
    scripts: '/mnt',
    under,
  });
  const words = ['--digest', 'blake3', '--ticket-file', receiver.ticketFile, source];
  const [send = '', ...rest] = [...under, '/mnt/ddt-send', ...words];
  const ended = await run(send, rest, { env: environment() });
  assert.equal(ended.status, 0, ended.stderr);
  await assertEqualFiles(source, join(place.path, 'target'));
  const status = await readFile(`/proc/${receiver.process.pid}/status`, 'utf8');
  assert.match(status, /^NoNewPrivs:\s*1$/m);
  assert.match(status, /^Uid:\s*6[1-5]\d{3}\s/m);
  const variables = (await readFile(`/proc/${receiver.process.pid}/environ`, 'latin1')).split('\0');
  assert(variables.includes('UV_THREADPOOL_SIZE=8') && variables.includes('UV_USE_IO_URING=0'));
});

test('the function that stands for libatomic runs at every start', async () => {
  await using place = await tempDir();
  const spoilt = join(place.path, 'ddt-send');
  await copyFile(program, spoilt);
  const bytes = await readFile(spoilt);
  const code = PROCESSORS[MACHINES[ARCHITECTURE]]?.code.map(([instruction]) => instruction).join('') ?? '';
  const at = bytes.indexOf(Buffer.from(code, 'hex'));
  assert(at > 0);
  // Illegal instructions on both processors.
  await writeFile(spoilt, bytes.fill(Buffer.from('0f0b0f0b', 'hex'), at, at + 4));
  assert.equal((await run(spoilt, ['--version'])).signal, 'SIGILL');
});

test('it makes no file when it starts', { skip: skipUnlessStrace }, async () => {
  await using place = await tempDir();
  const log = join(place.path, 'log');
  const { under = [] } = strace({ log, trace: 'open,openat,creat,mkdir,mkdirat' });
  const [command, ...args] = [...under, join(folder, 'ddt-send'), '--version'];
  await runOk(command, args, { env: environment({ HOME: place.path }) });
  const calls = (await readFile(log, 'utf8')).split('\n');
  assert(calls.some((line) => line.includes('openat(')));
  assert.deepEqual(
    calls.filter((line) => /O_CREAT|creat\(|mkdir/.test(line)),
    [],
  );
});

test('its title has the whole name of the source, also if that is its only argument', async () => {
  await using place = await tempDir();
  await writeFile(join(place.path, 'a-disk'), prng(4).bytes(MIB));
  await using receiver = await startReceiver({ folder: place.path, target: join(place.path, 'target') });
  const env = environment({
    DDT_TICKET: receiver.ticket,
    PATH: `${folder}:${process.env['PATH'] ?? ''}`,
  });
  // Held up by a receiver that is stopped.
  receiver.process.kill('SIGSTOP');
  await using sender = await start('ddt-send', ['a-disk'], { env, cwd: place.path });
  const title = async (): Promise<string> =>
    (await readFile(`/proc/${sender.pid}/cmdline`, 'latin1')).replaceAll('\0', '');
  await until('the title', async () => (await title()).startsWith('ddt-send: '));
  assert.equal(await title(), 'ddt-send: a-disk');
  receiver.process.kill('SIGCONT');
  assert.equal((await sender.ended).status, 0);
});
