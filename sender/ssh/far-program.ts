/** Which program runs on the far machine: one that is there, or the one file that is brought. */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { isSea } from 'node:sea';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { TransferError, reasonOf } from '../../common/errors.ts';
import { VERSION_TEXT } from '../../common/protocol/version.ts';
import { formatSize } from '../../common/units.ts';
import { shellWord } from './far-scripts.ts';

/** As `uname -m` names processors, and as our files are named. */
const KINDS: Readonly<Record<string, string>> = { x86_64: 'x64', aarch64: 'arm64' };

/** What the far machine says about itself. */
export interface FarFacts {
  /** `Linux x86_64`. */
  readonly os: string;
  /** Digests of the programs that were brought before. */
  readonly programs: readonly string[];
  /** Installed ones: path and version. */
  readonly installed: readonly { readonly path: string; readonly version: string }[];
}

export interface FarProgram {
  /** Words of sh that start a receiver, its options to follow. */
  readonly command: string;
  /** SHA-256 of the file that was brought, or is to be; undefined: it was there. */
  readonly digest: string | undefined;
  /** To be sent before; undefined: it is there. */
  readonly file: { readonly path: string; readonly sizeBytes: number } | undefined;
}

export interface ProgramOptions {
  readonly base: string;
  /** Words of sh that start a receiver there. */
  readonly remoteProgram: string | undefined;
  /** To be brought instead of the one that is found here. */
  readonly programFile: string | undefined;
}

/** @throws TransferError that says what to do when there is none. */
export async function chooseProgram(
  facts: FarFacts,
  { base, remoteProgram, programFile }: ProgramOptions,
): Promise<FarProgram> {
  const [system, machine = ''] = facts.os.split(' ');
  const kind = KINDS[machine];
  if (remoteProgram !== undefined) return { command: remoteProgram, digest: undefined, file: undefined };
  if (system !== 'Linux' || kind === undefined) {
    throw unsuitable(`it is ${facts.os || 'of an unknown kind'}; Linux on x64 or arm64 is needed`);
  }
  const path = programFile ?? findFile(kind);
  if (path !== undefined) {
    const { digest, sizeBytes } = await describe(path);
    const command = `${shellWord(`${base}/bin/${digest}/ddt`)} receive`;
    if (facts.programs.includes(digest)) return { command, digest, file: undefined };
    return { command, digest, file: { path, sizeBytes } };
  }
  const same = facts.installed.find(({ version }) => versionOf(version) === versionOf(VERSION_TEXT));
  if (same !== undefined) {
    const isOneFile = same.path.endsWith('/ddt');
    const command = shellWord(same.path) + (isOneFile ? ' receive' : '');
    return { command, digest: undefined, file: undefined };
  }
  const [other] = facts.installed;
  const found = other === undefined ? '' : ` (it has ${versionOf(other.version)})`;
  throw unsuitable(
    `this version is not installed there${found}, and there is no file ddt-linux-${kind} to bring`,
    isSea()
      ? `name that file with --program, or put it beside ${process.execPath}`
      : 'npm run build; or install the same version there; or name a ddt-receive there: --remote-program',
  );
}

/** The file, compressed. @param onRead gets the number of bytes that have been read. */
export function compressedFile(path: string, onRead: (bytes: number) => void): Readable {
  let bytes = 0;
  const file = createReadStream(path, { highWaterMark: 1024 * 1024 });
  file.on('data', (chunk) => onRead((bytes += chunk.length)));
  const compressed = createGzip();
  pipeline(file, compressed).catch((error: unknown) => compressed.destroy(error as Error));
  return compressed;
}

/** Of this machine's kind: this very program; of another: beside it, or in the checkout. */
function findFile(kind: string): string | undefined {
  const name = `ddt-linux-${kind}`;
  if (isSea()) {
    if (process.arch === kind) return process.execPath;
    const beside = join(dirname(process.execPath), name);
    return existsSync(beside) ? beside : undefined;
  }
  const built = resolve(import.meta.dirname, '../../dist', name);
  return existsSync(built) ? built : undefined;
}

/** @throws TransferError `usage` when it cannot be read. */
async function describe(path: string): Promise<{ digest: string; sizeBytes: number }> {
  try {
    const sha256 = createHash('sha256');
    await pipeline(createReadStream(path, { highWaterMark: 1024 * 1024 }), sha256);
    return { digest: sha256.digest('hex'), sizeBytes: (await stat(path)).size };
  } catch (error) {
    throw new TransferError('usage', `cannot read the program ${path}: ${reasonOf(error)}`, { cause: error });
  }
}

/** Without that of Node.js, which differs where it is not brought along. */
function versionOf(text: string): string {
  return text.split(', ').slice(0, 2).join(', ');
}

/** Of the far machine. */
export function unsuitable(reason: string, hint?: string): TransferError {
  return new TransferError('machine-unsuitable', `cannot start a receiver there: ${reason}`, {
    ...(hint !== undefined && { hint }),
  });
}

/** `dd-transfer 0.2.0, 42 MiB`. */
export function programName(sizeBytes: number): string {
  return `${VERSION_TEXT.split(', ')[0]}, ${formatSize(sizeBytes)}`;
}
