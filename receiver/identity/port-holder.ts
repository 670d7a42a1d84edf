/** Which process listens on a port that we wanted: for a message that says what to do. */
import { readlink } from 'node:fs/promises';
import { isIPv4 } from 'node:net';
import { namesIn, readLine, readText } from '../../common/disk/block-devices.ts';

export interface PortHolder {
  readonly processId: number;
  /** What the process calls itself: `nginx`, `ddt-receive: /dev/vdd`. */
  readonly name: string;
}

/** The state of a listening socket in /proc/net/tcp (include/net/tcp_states.h). */
const LISTEN = '0A';

/** @returns undefined where it can't be found, as with a process of another user. */
export async function findPortHolder(host: string, port: number): Promise<PortHolder | undefined> {
  const inodes = new Set<string>();
  const own = isIPv4(host) && host !== '0.0.0.0' ? hexOf(host) : undefined;
  for (const table of ['tcp', 'tcp6']) {
    for (const line of ((await readText(`/proc/net/${table}`)) ?? '').split('\n').slice(1)) {
      const [, local = '', , state, , , , , , inode] = line.trim().split(/\s+/);
      const [address = '', portHex = ''] = local.split(':');
      if (state !== LISTEN || parseInt(portHex, 16) !== port) continue;
      const isInTheWay = own === undefined || address === own || /^0+$/.test(address);
      if (isInTheWay) inodes.add(`socket:[${inode}]`);
    }
  }
  if (inodes.size === 0) return undefined;
  for (const processId of (await namesIn('/proc')).filter((name) => /^\d+$/.test(name))) {
    for (const descriptor of await namesIn(`/proc/${processId}/fd`)) {
      const link = await readlink(`/proc/${processId}/fd/${descriptor}`).catch(() => '');
      if (inodes.has(link)) return { processId: Number(processId), name: await nameOf(processId) };
    }
  }
  return undefined;
}

/** An IPv4 address as the table of a little-endian machine has it: `0100007F`. */
function hexOf(address: string): string {
  const bytes = address.split('.').map((byte) => Number(byte).toString(16).padStart(2, '0'));
  return bytes.toReversed().join('').toUpperCase();
}

/** A ddt-receive shows its target in the title that it has set. */
async function nameOf(processId: string): Promise<string> {
  const name = (await readLine(`/proc/${processId}/comm`)) ?? 'a process';
  const title = (await readText(`/proc/${processId}/cmdline`))?.replaceAll('\0', ' ').trim() ?? '';
  return name === 'ddt-receive' && /^ddt-receive: [^\p{C}]+$/u.test(title) ? title : name;
}
