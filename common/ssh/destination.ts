/** A disk on a machine that ssh reaches, as people write it. Pure. */
import { TransferError } from '../errors.ts';
import { parseWhole } from '../units.ts';

export interface Destination {
  /** As ssh takes it: `vm`, `root@vm`, `root@2001:db8::7`. */
  readonly login: string;
  /** undefined: as ssh's configuration says. */
  readonly port: number | undefined;
  /** On that machine; a relative one begins in the home of the login. */
  readonly path: string;
}

/** What the disk is in the copy; for messages. */
type What = 'target' | 'source';

const PORT_MAX = 65_535;
/** Neither part may look like an option of ssh. */
const USER = String.raw`(?:([^\s@:/-][^\s@:/]*)@)?`;
const HOST = String.raw`(?:\[([0-9a-fA-F:.]+(?:%[\w.-]+)?)\]|([^\s@:/[\]-][^\s@:/[\]]*))`;
const SCP = new RegExp(`^${USER}${HOST}:([^]*)$`);
const URL_FORM = new RegExp(`^ssh://${USER}${HOST}(?::(\\d{1,5}))?(/[^]*)?$`);

/**
 * `[user@]host:path` as scp has it, or `ssh://[user@]host[:port]/path`, where the path is absolute.
 * @returns undefined where the text is neither, as `nbd://host/export`, `rbd:pool/image` and `s3://bucket`.
 * @throws TransferError `usage`.
 */
export function parseDestination(text: string, what: What = 'target'): Destination | undefined {
  if (text.startsWith('ssh:')) {
    const [, user, address, name, port, path] = URL_FORM.exec(text) ?? [];
    const host = address ?? name;
    if (host === undefined) refuse(what, text, 'it is not ssh://[user@]host[:port]/path');
    const login = loginOf(user, host);
    return { login, port: port === undefined ? undefined : portOf(port), path: checkPath(what, text, path) };
  }
  // Not of a machine with the name of a protocol.
  if (/^((nbds?(\+[a-z]+)?|s3):\/\/|rbd:[^/])/i.test(text)) return undefined;
  const [, user, address, name, path] = SCP.exec(text) ?? [];
  const host = address ?? name;
  if (host === undefined) return undefined;
  return { login: loginOf(user, host), port: undefined, path: checkPath(what, text, path) };
}

/** The part of a login that names the machine. */
export function hostOf({ login }: Destination): string {
  return login.slice(login.indexOf('@') + 1);
}

function loginOf(user: string | undefined, host: string): string {
  return user === undefined ? host : `${user}@${host}`;
}

function portOf(text: string): number {
  return parseWhole(text, 'ssh port', 1, PORT_MAX);
}

function checkPath(what: What, text: string, path: string | undefined): string {
  if (path === undefined || path === '' || path === '/')
    refuse(what, text, 'the disk is missing after the host');
  // A line break would end a line of what the far machine prints.
  if (/[\n\r\0]/.test(path)) refuse(what, text, 'there is a line break in the path');
  return path;
}

/** Of programs there. @throws TransferError `usage` unless it is absolute. */
export function parseRemoteDir(text: string): string {
  const folder = text.replace(/(?<=.)\/+$/, '');
  if (/^\/[^\n\r\0]+$/.test(folder)) return folder;
  throw new TransferError('usage', `--remote-dir '${folder}' is not an absolute path`, {
    hint: 'for example --remote-dir /root/dd-transfer',
  });
}

function refuse(what: What, text: string, reason: string): never {
  throw new TransferError('usage', `cannot read the ${what} '${text}': ${reason}`, {
    hint: 'for example root@vm.example.org:/dev/vdd or ssh://root@vm.example.org:2222/dev/vdd',
  });
}
