/** What the kernel of this machine could do for a line that loses packets. */
import { access, readFile } from 'node:fs/promises';
import { release } from 'node:os';

const SETTING = '/proc/sys/net/ipv4/tcp_congestion_control';
/** Those that are loaded; BBR is a module in most distributions (Linux: net/ipv4/Kconfig). */
const AVAILABLE = '/proc/sys/net/ipv4/tcp_available_congestion_control';
const MODULE_ENDINGS = ['.ko', '.ko.xz', '.ko.zst', '.ko.gz'];

/** For tests: a tree in place of the machine's. */
export interface KernelFolders {
  /** Before `/proc` and `/lib`. */
  readonly root: string;
}

/** @returns the hint to use BBR; undefined where it is in use, and where the kernel does not offer it. */
export async function bbrHint({ root }: KernelFolders = { root: '' }): Promise<string | undefined> {
  const [used, available] = await Promise.all(
    [SETTING, AVAILABLE].map(async (it) => await wordsOf(root + it)),
  );
  if (used === undefined || used.includes('bbr')) return undefined;
  const isLoaded = available?.includes('bbr') === true;
  if (!isLoaded && !(await hasModule(root))) return undefined;
  const load = isLoaded ? '' : 'modprobe tcp_bbr && ';
  const command = `${load}sysctl -w net.ipv4.tcp_congestion_control=bbr, and start again`;
  const other = used.join(' ');
  return `this line needs many connections; BBR may fill it better than ${other}: ${command}`;
}

async function wordsOf(path: string): Promise<string[] | undefined> {
  const text = await readFile(path, 'utf8').catch(() => undefined);
  return text?.trim().split(/\s+/);
}

async function hasModule(root: string): Promise<boolean> {
  const path = `${root}/lib/modules/${release()}/kernel/net/ipv4/tcp_bbr`;
  const found = await Promise.all(
    MODULE_ENDINGS.map(async (ending) =>
      access(path + ending).then(
        () => true,
        () => false,
      ),
    ),
  );
  return found.includes(true);
}
