/** Makes the one file for each architecture: `npm run build`; `-- --help` says what else it can do. */
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { gzip, zstdCompress } from 'node:zlib';
import {
  ARCHITECTURES,
  programName,
  programTrailer,
  readProgram,
  type Architecture,
} from '../../common/program/program.ts';
import { formatSize } from '../../common/units.ts';
import { run } from '../../test/support/run.ts';
import { median } from '../bench/report.ts';
import { endedWith, Failure, runScript, runTool } from '../run-script.ts';
import { bundle } from './bundle.ts';
import { stripped } from './elf.ts';
import { replaceLibatomic } from './libatomic.ts';
import { readLicenses } from './licenses.ts';
import { findBlake3Addon, findNode } from './packages.ts';

const PROJECT = join(import.meta.dirname, '../..');
const HELP = `Usage: npm run build [-- options]

Makes dd-transfer as one file for each architecture, and their digests in SHA256SUMS.

  --arch <name>   only for x64 or arm64
  --out <folder>  where to (default: dist)
  --sign <key>    sign the digests with this key of ssh: SHA256SUMS.sig
`;
/** What ssh-keygen calls signatures of files (PROTOCOL.sshsig). */
const SIGNATURE_NAMESPACE = 'file';
const EXECUTABLE_MODE = 0o755;
const STARTS = 5;

/** The code cache of V8 holds hashes with a random seed; with the same seed it has the same bytes. */
const SAME_BYTES = '--random-seed=1';
/** As launch.sh starts it; what NODE_OPTIONS says is for other programs. */
const NODE_OPTIONS = ['--disable-sigusr1', '--disable-warning=ExperimentalWarning'];

interface Bundle {
  readonly path: string;
  readonly packages: readonly string[];
}

interface BuildOptions {
  readonly architectures: readonly Architecture[];
  readonly outFolder: string;
  readonly signingKey: string | undefined;
}

/** @returns undefined when help was asked for and printed. */
function readOptions(args: string[]): BuildOptions | undefined {
  const { values } = parseArgs({
    args,
    options: {
      arch: { type: 'string' },
      out: { type: 'string', default: 'dist' },
      sign: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return undefined;
  }
  const architectures = ARCHITECTURES.filter((name) => values.arch === undefined || values.arch === name);
  if (architectures.length === 0) {
    throw new Failure(`--arch ${values.arch}: there are x64 and arm64`, 2);
  }
  return { architectures, outFolder: resolve(values.out), signingKey: values.sign };
}

/**
 * In a folder of its own, by names without a path: they become part of the file.
 * @returns the file's bytes.
 */
async function assemble(
  architecture: Architecture,
  module: Bundle,
  signal: AbortSignal,
): Promise<Buffer<ArrayBuffer>> {
  const folder = dirname(module.path);
  const node = await findNode(architecture, signal);
  await writeFile(join(folder, 'node'), stripped(await readFile(node)), { mode: EXECUTABLE_MODE });
  await writeFile(join(folder, 'licenses.txt'), await readLicenses(module.packages, node));
  const config = {
    main: 'ddt.js',
    mainFormat: 'module',
    executable: 'node',
    output: 'ddt',
    disableExperimentalSEAWarning: true,
    // What V8 makes for one processor is of no use to another.
    useCodeCache: architecture === process.arch,
    execArgv: NODE_OPTIONS,
    execArgvExtension: 'none',
    assets: {
      'blake-hash.node': await findBlake3Addon(architecture, signal),
      'licenses.txt': 'licenses.txt',
    },
  };
  await writeFile(join(folder, 'sea.json'), JSON.stringify(config));
  const args = [SAME_BYTES, '--build-sea', 'sea.json'];
  const ended = await run(process.execPath, args, { cwd: folder, signal });
  if (ended.status !== 0) throw endedWith('node --build-sea', ended);
  const program = await readFile(join(folder, 'ddt'));
  replaceLibatomic(program);
  return Buffer.concat([program, programTrailer(architecture)]);
}

/** @returns a line of SHA256SUMS. */
async function makeProgram(
  architecture: Architecture,
  module: Bundle,
  { outFolder, signal }: { outFolder: string; signal: AbortSignal },
): Promise<string> {
  const bytes = await assemble(architecture, module, signal);
  const name = programName(architecture);
  const path = join(outFolder, name);
  // Not over one that runs.
  await rm(path, { force: true });
  await writeFile(path, bytes);
  await chmod(path, EXECUTABLE_MODE);
  const program = await readProgram(path, architecture);
  if (program === undefined) throw new Failure(`${path} is not what was written`);
  const [zipped, zstd] = await Promise.all([promisify(gzip)(bytes), promisify(zstdCompress)(bytes)]);
  const start = architecture === process.arch ? `, starts in ${await measureStart(path, signal)} ms` : '';
  process.stdout.write(
    `${name}  ${formatSize(bytes.length)}, gzip ${formatSize(zipped.length)}, ` +
      `zstd ${formatSize(zstd.length)}${start}\n`,
  );
  return `${program.sha256}  ${name}\n`;
}

async function measureStart(path: string, signal: AbortSignal): Promise<number> {
  const times: number[] = [];
  for (let index = 0; index < STARTS; index++) {
    const startMs = performance.now();
    await runTool(path, ['send', '--version'], signal);
    times.push(performance.now() - startMs);
  }
  return Math.round(median(times));
}

async function build(args: string[], signal: AbortSignal): Promise<void> {
  const options = readOptions(args);
  if (options === undefined) return;
  const { architectures, outFolder, signingKey } = options;
  await mkdir(join(PROJECT, '.tmp'), { recursive: true });
  await mkdir(outFolder, { recursive: true });
  const folder = await mkdtemp(join(PROJECT, '.tmp/build-'));
  try {
    const path = join(folder, 'ddt.js');
    const module = { path, packages: await bundle(path) };
    let sums = '';
    for (const architecture of architectures) {
      sums += await makeProgram(architecture, module, { outFolder, signal });
    }
    const sumsFile = join(outFolder, 'SHA256SUMS');
    await rm(`${sumsFile}.sig`, { force: true });
    await writeFile(sumsFile, sums);
    if (signingKey !== undefined) {
      const key = resolve(signingKey);
      const command = ['-q', '-Y', 'sign', '-f', key, '-n', SIGNATURE_NAMESPACE, sumsFile];
      await runTool('ssh-keygen', command, signal);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

await runScript('build', async (signal) => await build(process.argv.slice(2), signal));
