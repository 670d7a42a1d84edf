/** Packages for Debian of the files that `npm run build` has made: `npm run package`. */
import { chmod, copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { ARCHITECTURES, findProgram, programName, type Architecture } from '../../common/program/program.ts';
import { VERSION } from '../../common/protocol/version.ts';
import { formatSize } from '../../common/units.ts';
import { makeCommand as makeFleetCommand } from '../../fleet/cli.ts';
import { makeCommand as makeReceiveCommand } from '../../receiver/cli.ts';
import { makeCommand as makeSendCommand } from '../../sender/cli.ts';
import { Failure, runScript, runTool } from '../run-script.ts';
import { readCloudConfig } from './cloud-config.ts';
import { bashCompletion, fishCompletion, manualPage, readManual, zshCompletion } from './manual.ts';

const PROJECT = join(import.meta.dirname, '../..');
const DEBIAN_NAMES = { x64: 'amd64', arm64: 'arm64' } as const;
const PROGRAM_MODE = 0o755;
const UNIT = 'systemd/ddt-receive@.service';

/** Paths in the package, and what they hold. */
async function textFiles(): Promise<[path: string, content: string | Buffer][]> {
  const files: [string, string | Buffer][] = [];
  for (const make of [makeSendCommand, makeReceiveCommand, makeFleetCommand]) {
    const manual = readManual(make);
    const name = manual.command.name();
    // Without the time and the name of a file, which gzip(1) would put in.
    const page = await promisify(gzip)(manualPage(manual, VERSION));
    files.push(
      [`usr/share/man/man1/${name}.1.gz`, page],
      [`usr/share/bash-completion/completions/${name}`, bashCompletion(manual)],
      [`usr/share/zsh/vendor-completions/_${name}`, zshCompletion(manual)],
      [`usr/share/fish/vendor_completions.d/${name}.fish`, fishCompletion(manual)],
    );
  }
  const unit = await readFile(join(PROJECT, 'scripts', UNIT), 'utf8');
  const installed = unit
    .replaceAll('/usr/local/bin/', '/usr/bin/')
    .replace(/^# +cp .*\n/m, '')
    .replace('than it needs:', 'than it needs. To start it:');
  files.push([`usr/lib/${UNIT.replace('systemd/', 'systemd/system/')}`, installed]);
  files.push(['usr/share/doc/dd-transfer/examples/cloud-init.yaml', await readCloudConfig()]);
  return files;
}

/** @param bytes of everything that is installed. */
function controlFile(architecture: Architecture, bytes: number): string {
  const kibibytes = Math.ceil(bytes / 1024);
  return `Package: dd-transfer
Version: ${VERSION}
Architecture: ${DEBIAN_NAMES[architecture]}
Maintainer: the contributors of dd-transfer
Installed-Size: ${kibibytes}
Depends: libc6 (>= 2.28), libgcc-s1 | libgcc1, libstdc++6 (>= 5), util-linux
Section: admin
Priority: optional
Description: copies a disk onto a disk of another machine
 Byte for byte over an ordinary internet line: encrypted, verified by reading the
 target back, and resumable at any moment. ddt-receive serves one disk, ddt-send
 sends one to it, ddt-fleet runs a table of copies.
`;
}

async function writeInto(root: string, path: string, content: string | Buffer): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), content, { mode: 0o644 });
}

/** @returns the path of the package. */
async function makePackage(
  architecture: Architecture,
  { outFolder, signal }: { outFolder: string; signal: AbortSignal },
): Promise<string> {
  const program = await findProgram(architecture);
  if (program === undefined) {
    throw new Failure(`dist/${programName(architecture)} is missing or of another version: npm run build`, 2);
  }
  await mkdir(join(PROJECT, '.tmp'), { recursive: true });
  const root = await mkdtemp(join(PROJECT, '.tmp/package-'));
  try {
    await chmod(root, PROGRAM_MODE);
    let bytes = program.sizeBytes;
    for (const [path, content] of await textFiles()) {
      bytes += content.length;
      await writeInto(root, path, content);
    }
    const licenses = await runTool(await ownProgram(), ['--licenses'], signal);
    await writeInto(root, 'usr/share/doc/dd-transfer/copyright', licenses);
    await mkdir(join(root, 'usr/bin'));
    await copyFile(program.path, join(root, 'usr/bin/ddt'));
    await chmod(join(root, 'usr/bin/ddt'), PROGRAM_MODE);
    for (const name of ['ddt-send', 'ddt-receive', 'ddt-fleet'])
      await symlink('ddt', join(root, 'usr/bin', name));
    await writeInto(root, 'DEBIAN/control', controlFile(architecture, bytes + licenses.length));
    const path = join(outFolder, `dd-transfer_${VERSION}_${DEBIAN_NAMES[architecture]}.deb`);
    await rm(path, { force: true });
    // Debian 11 cannot unpack zstd, which is faster.
    const args = ['--root-owner-group', '-Zgzip', '--build', root, path];
    await runTool('env', [`SOURCE_DATE_EPOCH=${await commitTime(signal)}`, 'dpkg-deb', ...args], signal);
    return path;
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

/** The licenses are the same in both, and the one for this machine can print them. */
async function ownProgram(): Promise<string> {
  const own = await findProgram(process.arch === 'arm64' ? 'arm64' : 'x64');
  if (own === undefined) throw new Failure('the one file for this machine is missing: npm run build', 2);
  return own.path;
}

/** So that two packages of one commit are equal: the time of all that is in them. */
async function commitTime(signal: AbortSignal): Promise<string> {
  const args = ['-C', PROJECT, 'log', '-1', '--format=%ct'];
  return process.env['SOURCE_DATE_EPOCH'] ?? (await runTool('git', args, signal)).trim();
}

async function makePackages(args: string[], signal: AbortSignal): Promise<void> {
  const options = { arch: { type: 'string' }, out: { type: 'string', default: 'dist' } } as const;
  const { values } = parseArgs({ args, options });
  const architectures = ARCHITECTURES.filter((name) => values.arch === undefined || values.arch === name);
  if (architectures.length === 0) throw new Failure(`--arch ${values.arch}: there are x64 and arm64`, 2);
  const outFolder = resolve(values.out);
  for (const architecture of architectures) {
    const path = await makePackage(architecture, { outFolder, signal });
    process.stdout.write(`${path}  ${formatSize((await readFile(path)).length)}\n`);
  }
}

await runScript('package', async (signal) => await makePackages(process.argv.slice(2), signal));
