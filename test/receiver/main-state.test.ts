/** The state folder: where it is, and what is said when it can't be written. */
import assert from 'node:assert/strict';
import { chmod, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { mounted, skipUnlessLoop } from '../support/loop-device.ts';
import { OWN_HOST, SCRIPTS, environment, runReceiver, startReceiver } from '../support/processes.ts';
import { run, runOk, type Ended } from '../support/run.ts';
import { smallFs } from '../support/small-fs.ts';
import { tempDir } from '../support/temp-dir.ts';

const needsRoot = { skip: skipUnlessLoop };
const KIB = 1024;

async function startWith(stateDir: string, target: string): Promise<Ended> {
  return await runReceiver(['--listen', `${OWN_HOST}:0`, '--state-dir', stateDir, target]);
}

function assertTwoLines({ stdout, stderr }: Ended, message: RegExp, hint: RegExp): void {
  assert.equal(stdout, '');
  const [error = '', next = '', ...more] = stderr.split('\n');
  assert.match(error, message);
  assert.match(next, hint);
  assert.deepEqual(more, [''], stderr);
}

const ANOTHER_FOLDER = /^ddt-receive: hint: name another folder with --state-dir$/;
const FULL = /^ddt-receive: error: cannot write to the state folder \S+: no space left on device$/;
const FREE_SPACE = /^ddt-receive: hint: free some space there, or name another folder with --state-dir$/;

test('a full disk of the state folder is said to be full, and exit 6', needsRoot, async () => {
  await using folder = await tempDir();
  await using fs = await smallFs(64 * KIB);
  const stateDir = join(fs.path, 'state');
  await mkdir(stateDir, { mode: 0o700 });
  await fs.fill(64 * KIB);
  const ended = await startWith(stateDir, join(folder.path, 'target'));
  assert.equal(ended.status, 6);
  assertTwoLines(ended, FULL, FREE_SPACE);
  assert.deepEqual(await readdir(stateDir), [], 'no half of a key');
  await fs.empty();
  await fs.resize(1024 * KIB);
  await using receiver = await startReceiver({ folder: fs.path, target: join(folder.path, 'target') });
  assert.equal((await receiver.status()).state, 'unclaimed');
});

test('a disk without room for a new journal is said to be full, and exit 6', needsRoot, async () => {
  await using folder = await tempDir();
  await using fs = await smallFs(512 * KIB);
  await using first = await startReceiver({ folder: fs.path, target: join(folder.path, 'one') });
  await first.end('SIGTERM');
  await fs.fill(512 * KIB);
  const ended = await startWith(first.stateDir, join(folder.path, 'two'));
  assert.equal(ended.status, 6, ended.stderr);
  const message =
    /error: cannot write (to the state folder \S+: no space left|the journal \S+: database or disk is full)/;
  assertTwoLines(ended, message, FREE_SPACE);
});

test('a read-only state folder is said to be so, and exit 4', needsRoot, async () => {
  await using folder = await tempDir();
  await using fs = await mounted('tmpfs', ['-t', 'tmpfs', '-o', 'size=1m']);
  const stateDir = join(fs.path, 'state');
  await mkdir(stateDir, { mode: 0o700 });
  await runOk('mount', ['-o', 'remount,ro', fs.path]);
  for (const path of [stateDir, join(fs.path, 'new')]) {
    const ended = await startWith(path, join(folder.path, 'target'));
    assert.equal(ended.status, 4);
    const message = new RegExp(
      `error: cannot write to the state folder ${path}: the file system is read-only$`,
    );
    assertTwoLines(ended, message, ANOTHER_FOLDER);
  }
});

/**
 * As a user without root's rights, in a folder that this user may write to.
 * @param place a folder where this user sees the project, which may be in a folder of root alone.
 */
async function startAs(
  userId: number,
  { home, cwd, place }: { home: NodeJS.ProcessEnv; cwd: string; place: string },
): Promise<Ended> {
  const script = 'mount --bind "$0" "$1" && shift && exec setpriv "$@"';
  const within = ['--mount', 'sh', '-c', script, join(SCRIPTS, '..'), place];
  const identity = ['--reuid', String(userId), '--regid', String(userId), '--clear-groups'];
  const command = [join(place, 'scripts/ddt-receive'), '--listen', `${OWN_HOST}:0`, 'target'];
  const env = environment({ HOME: undefined, XDG_STATE_HOME: undefined, ...home });
  return await run('unshare', [...within, ...identity, ...command], { env, cwd });
}

test('without HOME keys are never kept in the working folder', needsRoot, async () => {
  await using folder = await tempDir();
  await using project = await tempDir();
  await chmod(folder.path, 0o777);
  await chmod(project.path, 0o755);
  for (const home of [{}, { HOME: '' }, { HOME: '.' }, { XDG_STATE_HOME: 'state' }]) {
    // nobody, whose home in /etc/passwd does not exist.
    const ended = await startAs(65_534, { home, cwd: folder.path, place: project.path });
    assert.equal(ended.status, 4, ended.stderr);
    const message = /error: cannot write to the state folder \/nonexistent\/\.local\/state\/dd-transfer: /;
    assertTwoLines(ended, message, ANOTHER_FOLDER);
    const unknown = await startAs(54_321, { home, cwd: folder.path, place: project.path });
    assert.equal(unknown.status, 2, unknown.stderr);
    const noHome =
      /error: cannot tell where to keep journals and keys: HOME is not set, and user 54321 has no home/;
    assertTwoLines(unknown, noHome, /^ddt-receive: hint: name a folder: --state-dir \/path\/to\/folder$/);
    assert.deepEqual(await readdir(folder.path), []);
  }
});
