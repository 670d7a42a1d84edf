/** Which program runs on the far machine: one that is there, or the one file that is brought. */
import { createReadStream } from 'node:fs';
import { isSea } from 'node:sea';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { TransferError } from '../errors.ts';
import {
  findProgram,
  programName,
  readProgram,
  type Architecture,
  type Program,
} from '../program/program.ts';
import { VERSION_TEXT } from '../protocol/version.ts';
import { shellWord } from '../text.ts';

/** As `uname -m` names them. */
const ARCHITECTURE_OF: Readonly<Record<string, Architecture>> = { x86_64: 'x64', aarch64: 'arm64' };

/** Half the time of the usual level, and 6 % more bytes. */
const GZIP_LEVEL = 3;

/** What the program is to do there. */
export type Role = 'send' | 'receive';

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
  /** Words of sh that start it in its role, its options to follow. */
  readonly command: string;
  /** SHA-256 of the file that was brought, or is to be; undefined: it was there. */
  readonly digest: string | undefined;
  /** To be sent before; undefined: it is there. */
  readonly file: Program | undefined;
}

export interface ProgramOptions {
  readonly base: string;
  /** Words of sh that start it in its role there. */
  readonly remoteProgram: string | undefined;
  /** To be brought instead of the one that is found here. */
  readonly programFile: string | undefined;
}

/** @throws TransferError that says what to do when there is none. */
export async function chooseProgram(
  role: Role,
  facts: FarFacts,
  { base, remoteProgram, programFile }: ProgramOptions,
): Promise<FarProgram> {
  if (remoteProgram !== undefined) return { command: remoteProgram, digest: undefined, file: undefined };
  const [system, machine = ''] = facts.os.split(' ');
  const architecture = ARCHITECTURE_OF[machine];
  if (system !== 'Linux' || architecture === undefined) {
    throw unsuitable(role, `it is ${facts.os || 'of an unknown kind'}; Linux on x64 or arm64 is needed`);
  }
  const file = await openProgram(programFile, architecture);
  if (file !== undefined) {
    const digest = file.sha256;
    const command = `${shellWord(`${base}/bin/${digest}/ddt`)} ${role}`;
    return { command, digest, file: facts.programs.includes(digest) ? undefined : file };
  }
  const same = facts.installed.find(({ version }) => versionOf(version) === versionOf(VERSION_TEXT));
  if (same !== undefined) {
    const isOneFile = same.path.endsWith('/ddt');
    const command = shellWord(same.path) + (isOneFile ? ` ${role}` : '');
    return { command, digest: undefined, file: undefined };
  }
  const [other] = facts.installed;
  const found = other === undefined ? '' : ` (it has ${versionOf(other.version)})`;
  const name = programName(architecture);
  throw unsuitable(
    role,
    `this version is not installed there${found}, and there is no ${name} of this version to bring`,
    isSea()
      ? `name that file with --program, or put it beside ${process.execPath}`
      : `npm run build; or install the same version there; or name a ddt-${role} there: --remote-program`,
  );
}

/** @throws TransferError `usage` when the named file is not one. */
async function openProgram(
  programFile: string | undefined,
  architecture: Architecture,
): Promise<Program | undefined> {
  if (programFile === undefined) return await findProgram(architecture);
  const program = await readProgram(programFile, architecture);
  if (program !== undefined) return program;
  const name = programName(architecture);
  throw new TransferError('usage', `--program ${programFile} is not the ${name} of this version`, {
    hint: `name the ${name} of ${versionOf(VERSION_TEXT)}`,
  });
}

/**
 * A part of the file, compressed.
 * @param range from the first byte to the one after the last. @param onRead gets the number of bytes so far.
 */
export function compressedFile(
  path: string,
  [start, end]: readonly [number, number],
  onRead: (bytes: number) => void,
): Readable {
  let bytes = 0;
  const file = createReadStream(path, { start, end: end - 1, highWaterMark: 1024 * 1024 });
  file.on('data', (chunk) => onRead((bytes += chunk.length)));
  const compressed = createGzip({ level: GZIP_LEVEL });
  pipeline(file, compressed).catch((error: unknown) => compressed.destroy(error as Error));
  return compressed;
}

/** Without that of Node.js, which differs where it is not brought along. */
function versionOf(text: string): string {
  return text.split(', ').slice(0, 2).join(', ');
}

/** Of the far machine. */
export function unsuitable(role: Role, reason: string, hint?: string): TransferError {
  const what = role === 'send' ? 'cannot start a sender there' : 'cannot start a receiver there';
  return new TransferError('machine-unsuitable', `${what}: ${reason}`, {
    ...(hint !== undefined && { hint }),
  });
}
