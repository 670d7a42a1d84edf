/**
 * The one file on a Debian with nothing but its essential packages: end-to-end tests run here, and the
 * commands that they start run there. `npm run build:try`; `-- --help` says more.
 */
import {
  appendFile,
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  unlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { findProgram, programName, type Architecture, type Program } from '../../common/program/program.ts';
import { VERSION } from '../../common/protocol/version.ts';
import { assertEqualFiles, environment, startReceiver } from '../../test/support/processes.ts';
import { prng } from '../../test/support/prng.ts';
import { missingTools, unlessRoot } from '../../test/support/requires.ts';
import { run } from '../../test/support/run.ts';
import { endedWith, Failure, runScript, runTool, TEMPORARY } from '../run-script.ts';

const PROJECT = join(import.meta.dirname, '../..');
const HELP = `Usage: npm run build:try -- [options] [test file]...

Installs a package of dist/${programName('x64')} in a bare Debian, runs end-to-end tests with
it, and removes it. Then copies a file with dist/${programName('arm64')}, emulated. Needs root,
the network, debootstrap, qemu-user-static and libstdc++6-arm64-cross.

  --suite <name>  another Debian: bullseye, trixie (default: bookworm)
  --x64           only the tests
`;
/** Of every kind a few: files and devices, pipes, resumed copies. */
const TESTS = ['file-target', 'loop-device', 'pipes-resumed'];
const ARCHIVE = 'http://deb.debian.org/debian';
/** Of libstdc++6-arm64-cross and what it needs. */
const FOREIGN_LIBRARIES = '/usr/aarch64-linux-gnu';
const COMMANDS = ['ddt-send', 'ddt-receive', 'ddt-fleet'] as const;
const EXECUTABLE_MODE = 0o755;
const TESTS_TIMEOUT_MS = 1_800_000;
const EMULATED_BYTES = 3_000_000;

/**
 * Mounts in a namespace of their own end with its last process. Those that tests make appear in both systems.
 * No program of the temporary folder can run.
 */
const MOUNT = `
root=$1 shared=$2
shift 2
mount --make-rshared /
mount -t proc proc "$root/proc"
for folder in /dev /sys "$shared"; do
  mkdir -p "$root$folder"
  mount --rbind "$folder" "$root$folder"
done
mount -o remount,bind,noexec "$root$shared"
exec "$@"`;

interface Place {
  readonly folder: string;
  readonly signal: AbortSignal;
}

async function requireProgram(architecture: Architecture): Promise<Program> {
  const program = await findProgram(architecture);
  if (program !== undefined) return program;
  throw new Failure(`dist/${programName(architecture)} is missing or of another version: npm run build`, 2);
}

/** What every Debian has, unpacked but not set up. @returns its folder. */
async function unpackDebian(suite: string, { folder, signal }: Place): Promise<string> {
  const root = join(folder, suite);
  await runTool('debootstrap', ['--foreign', '--variant=minbase', suite, root, ARCHIVE], signal);
  // In a container debootstrap makes it a link to the one of this machine.
  await unlink(join(root, 'proc')).catch(() => {});
  for (const name of ['proc', 'dev', 'sys']) await mkdir(join(root, name), { recursive: true });
  return root;
}

/** Without a script of the package that would run. */
const DPKG = ['--force-depends', '--no-triggers'];

/** The package has no others. */
async function filesIn(root: string): Promise<string[]> {
  return await readdir(join(root, 'usr'), { recursive: true });
}

/** @returns the files that were there before. */
async function installPackage(root: string, { folder, signal }: Place): Promise<string[]> {
  const before = await filesIn(root);
  const script = join(PROJECT, 'scripts/build/package.ts');
  await runTool(process.execPath, [script, '--arch', 'x64', '--out', folder], signal);
  await appendFile(join(root, 'var/lib/dpkg/status'), '');
  const path = join(folder, `dd-transfer_${VERSION}_amd64.deb`);
  await runTool('dpkg', [`--root=${root}`, ...DPKG, '--install', path], signal);
  return before;
}

/** @throws Failure if anything of it is left. */
async function removePackage(root: string, before: readonly string[], { signal }: Place): Promise<void> {
  await runTool('dpkg', [`--root=${root}`, ...DPKG, '--purge', 'dd-transfer'], signal);
  const after = await filesIn(root);
  const left = after.filter((path) => !before.includes(path));
  if (left.length > 0) throw new Failure(`the package leaves ${left.join(', ')}`);
  const lost = before.filter((path) => !after.includes(path));
  if (lost.length > 0) throw new Failure(`the package takes with it ${lost.join(', ')}`);
}

async function tryTests(tests: readonly string[], suite: string, place: Place): Promise<void> {
  const { folder, signal } = place;
  await requireProgram('x64');
  const root = await unpackDebian(suite, place);
  const installed = await installPackage(root, place);
  const programs = join(folder, 'programs');
  await mkdir(programs);
  for (const name of COMMANDS) {
    const path = join(programs, name);
    await writeFile(path, `#!/bin/sh\nexec /usr/sbin/chroot '${root}' /usr/bin/${name} "$@"\n`);
    await chmod(path, EXECUTABLE_MODE);
  }
  const command = [process.execPath, join(PROJECT, 'scripts/run-tests.ts'), ...tests];
  const words = ['--mount', 'sh', '-e', '-c', MOUNT, 'sh', root, tmpdir(), ...command];
  // The certificates of this machine are not those of that one.
  const env = environment({ DDT_TEST_PROGRAMS: programs, NODE_EXTRA_CA_CERTS: undefined });
  const ended = await run('unshare', words, { cwd: PROJECT, env, signal, timeoutMs: TESTS_TIMEOUT_MS });
  const version = (await readFile(join(root, 'etc/debian_version'), 'utf8')).trim();
  process.stdout.write(`${ended.stdout}${ended.stderr}with ${programName('x64')} in Debian ${version}\n`);
  if (ended.status !== 0) throw endedWith('the tests', ended);
  await removePackage(root, installed, place);
}

/** Both commands on an emulated processor, with BLAKE3. */
async function tryEmulated({ folder, signal }: Place): Promise<void> {
  const program = await requireProgram('arm64');
  const emulated = ['qemu-aarch64-static', '-L', FOREIGN_LIBRARIES, program.path];
  const programs = join(folder, 'emulated');
  await mkdir(programs);
  for (const name of COMMANDS) {
    // An emulated program can't start itself again: it finds everything set.
    const words = ['exec setpriv --no-new-privs', ...emulated, name.replace('ddt-', ''), '"$@"'];
    await writeFile(join(programs, name), `#!/bin/sh\nexport UV_USE_IO_URING=0\n${words.join(' ')}\n`);
    await chmod(join(programs, name), EXECUTABLE_MODE);
  }
  const [source, target] = [join(folder, 'source'), join(folder, 'target')];
  await writeFile(source, prng(1).bytes(EMULATED_BYTES));
  await using receiver = await startReceiver({ folder, target, scripts: programs });
  const words = ['--digest', 'blake3', '--ticket-file', receiver.ticketFile, source];
  const ended = await run(join(programs, 'ddt-send'), words, { env: environment(), signal });
  if (ended.status !== 0) throw endedWith('the emulated ddt-send', ended);
  await assertEqualFiles(source, target);
  process.stdout.write(`${programName('arm64')} sent and received ${EMULATED_BYTES} bytes, emulated\n`);
}

async function tryBuild(args: string[], signal: AbortSignal): Promise<void> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      suite: { type: 'string', default: 'bookworm' },
      x64: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  if (unlessRoot !== false) throw new Failure('chroot needs root', 2);
  const missing = missingTools('debootstrap', 'qemu-aarch64-static');
  if (missing.length > 0) throw new Failure(`not installed: ${missing.join(', ')}`, 2);
  const tests = positionals.length > 0 ? positionals : TESTS.map((name) => `test/end-to-end/${name}.test.ts`);
  const folder = await mkdtemp(join(TEMPORARY, 'ddt-bare-'));
  try {
    await tryTests(tests, values.suite, { folder, signal });
    if (!values.x64) await tryEmulated({ folder, signal });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

await runScript('build:try', async (signal) => await tryBuild(process.argv.slice(2), signal));
