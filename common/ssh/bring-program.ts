/**
 * Brings the program to the far machine, compressed, in parts: one connection does not fill a line that loses
 * packets, and each login is a connection of its own.
 */
import { randomBytes } from 'node:crypto';
import { TransferError } from '../errors.ts';
import type { Program } from '../program/program.ts';
import { printable } from '../text.ts';
import { formatSize } from '../units.ts';
import { compressedFile, unsuitable, type Role } from './far-program.ts';
import { joinScript, partScript, unjoinScript, valuesOf, type Arriving } from './far-scripts.ts';
import type { ScriptOptions, SshClient } from './ssh-client.ts';

/** Even a slow line takes 50 MB in a day. */
const PUT_MS_MAX = 86_400_000;
const REPORT_MS = 5000;
const PARTS_MAX = 4;
/** Less is not worth a login. */
const PART_BYTES_MIN = 4 * 1024 * 1024;

export interface BringParts {
  readonly role: Role;
  readonly ssh: SshClient;
  readonly base: string;
  readonly isBySudo: boolean;
  /** It is to stay there. */
  readonly isKept: boolean;
  readonly signal: AbortSignal;
  readonly say: (fact: string) => void;
}

/** @throws TransferError `machine-unsuitable` where it cannot be put; nothing of it is left then. */
export async function bringProgram(
  { path, sizeBytes, sha256, version }: Program,
  { role, ssh, base, isBySudo, isKept, signal, say }: BringParts,
): Promise<void> {
  const size = formatSize(sizeBytes);
  say(`program  bringing dd-transfer ${version}, ${size}, compressed, to ${ssh.login}`);
  const many = Math.min(PARTS_MAX, Math.floor(sizeBytes / PART_BYTES_MIN));
  const count = many > 1 && (await ssh.canLogInAlone()) ? many : 1;
  const arriving: Arriving = { base, digest: sha256, id: randomBytes(4).toString('hex'), count };
  const options: ScriptOptions = { isBySudo, timeoutMs: PUT_MS_MAX, signal };
  const read = Array.from({ length: count }, () => 0);
  const report = setInterval(() => {
    say(`program  ${formatSize(read.reduce((sum, bytes) => sum + bytes, 0))} of ${size}`);
  }, REPORT_MS);
  const put = async (part: number, isOwn: boolean): Promise<string[]> => {
    const [start, end] = [part, part + 1].map((at) => Math.floor((sizeBytes * at) / count));
    const payload = compressedFile(path, [start ?? 0, end ?? 0], (bytes) => (read[part] = bytes));
    return await ssh.run(partScript(arriving, part), { ...options, payload, isOwn });
  };
  const putAnyway = async (part: number): Promise<string[]> => {
    if (part === 0) return await put(part, false);
    return await put(part, true).catch(async (error: unknown) => {
      signal.throwIfAborted();
      if (!(error instanceof TransferError)) throw error;
      return await put(part, false);
    });
  };
  try {
    const said = await Promise.all(Array.from(read, async (_, part) => await putAnyway(part)));
    const refused = said.find((lines) => !lines.includes('put=part'));
    if (refused !== undefined) {
      await ssh.run(unjoinScript(arriving), options);
      throw cannotPut(role, refused, base, ssh.login);
    }
    const joined = await ssh.run(joinScript(arriving, isKept), options);
    if (!joined.includes('put=done')) throw cannotPut(role, joined, base, ssh.login);
  } finally {
    clearInterval(report);
  }
}

function cannotPut(role: Role, said: readonly string[], base: string, login: string): TransferError {
  const reason = printable(valuesOf(said, 'refused')[0] ?? 'the login ended').trim();
  return unsuitable(
    role,
    `the program cannot be put into ${base}/bin at ${login}: ${reason}`,
    'name another folder there with --remote-dir, or a program that is installed with --remote-program',
  );
}
