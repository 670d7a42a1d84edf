/**
 * A far machine of its own: an emulated one, with Debian's kernel, programs of this machine, and disks that
 * are files here. Its plug can be pulled.
 */
import { chmod, copyFile, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { findProgram as findOneFile } from '../../common/program/program.ts';
import { OWN_HOST, bounded } from './processes.ts';
import {
  findProgram,
  kernelFolder,
  notApplicable,
  notWorking,
  unlessInstalled,
  unlessKernel,
} from './requires.ts';
import { run, runOk, start, type Started } from './run.ts';

/** Only this process has the address. */
const PORT = 2222;
const MEMORY_MIB = 768;
const BOOT_MS_MAX = 90_000;
const MARK = 'guest is up, its root is';
/** Each needs some of those before it. */
const MODULES = (
  'virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk ' +
  'failover net_failover virtio_net'
).split(' ');
/** What a receiver and the scripts of ddt-send use; busybox is for the rest. */
const PROGRAMS = 'sh dd gzip sha256sum sync sshd lsblk wipefs flock setpriv fallocate losetup busybox'.split(
  ' ',
);

/** Loads what the kernel lacks, and hands over to the disk that the command line names. */
const FIRST_INIT = `#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev
$b mount -t proc proc /proc
for module in ${MODULES.join(' ')}; do $b insmod /modules/$module.ko; done
for word in $($b cat /proc/cmdline); do
  case $word in root=*) $b mount -t ext4 "\${word#root=}" /root ;; esac
done
$b mount --move /dev /root/dev
$b umount /proc
exec $b switch_root /root /sbin/init
`;
/** The address is the one that QEMU forwards to (qemu(1), -netdev user). */
const START_UP = `#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
mkdir -p /run/sshd /dev/pts
mount -t devpts pts /dev/pts
ip link set lo up
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
/bin/sshd -f /etc/sshd-config
echo "${MARK} $(grep -o 'root=[^ ]*' /proc/cmdline)"
`;
const SSHD_CONFIG = `HostKey /etc/host-key
AuthorizedKeysFile /etc/authorized-keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
`;

/** For `skip`. */
export async function unlessGuest(): Promise<string | false> {
  if (process.arch !== 'x64')
    return notApplicable('the emulated machine runs the programs of an x64 machine');
  const missing =
    unlessInstalled('busybox', 'mkfs.ext4', 'qemu-system-x86_64', 'ssh', 'ssh-keygen', 'sshd') ||
    unlessKernel();
  if (missing !== false) return missing;
  if ((await findOneFile('x64')) !== undefined) return false;
  return notWorking('bringing the one file', 'dist/ddt-linux-x64 of this version is missing: npm run build');
}

/** What all guests boot from, made of this machine's programs. */
export class GuestSystem {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** @param folder must exist. */
  static async build(folder: string): Promise<GuestSystem> {
    const system = new GuestSystem(folder);
    await system.#writeKeys();
    await packInitialSystem(system.#at('initial'), system.#at('initrd'));
    await system.#buildRoot();
    return system;
  }

  /** For `ssh -F`; the host is `guest`. */
  get configFile(): string {
    return this.#at('ssh-config');
  }

  /** A file with a file system to boot from. */
  async makeDisk(path: string, sizeBytes: number): Promise<void> {
    await runOk('truncate', ['--size', String(sizeBytes), path]);
    await runOk(findProgram('mkfs.ext4') ?? 'mkfs.ext4', ['-q', '-d', this.#at('root'), path]);
  }

  /** @param disks files, the first is /dev/vda. @param root `/dev/vdb`. */
  async boot(disks: readonly string[], root: string): Promise<Guest> {
    const machine = await startMachine({
      initrd: this.#at('initrd'),
      commandLine: `root=${root}`,
      devices: [
        ...disks.map((path) => ['-drive', `file=${path},format=raw,if=virtio`]),
        ['-netdev', `user,id=net,restrict=on,hostfwd=tcp:${OWN_HOST}:${PORT}-:22`],
      ],
    });
    try {
      await machine.waitForLine(new RegExp(`${MARK} root=${root}`), BOOT_MS_MAX);
      return new Guest(machine);
    } catch (error) {
      await machine[Symbol.asyncDispose]();
      throw error;
    }
  }

  #at(name: string): string {
    return join(this.#folder, name);
  }

  async #writeKeys(): Promise<void> {
    for (const name of ['host-key', 'user-key']) {
      await runOk('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', this.#at(name)]);
    }
    const known = `[${OWN_HOST}]:${PORT} ${await readFile(this.#at('host-key.pub'), 'utf8')}`;
    await writeFile(this.#at('known-hosts'), known);
    const config = `Host guest
HostName ${OWN_HOST}
Port ${PORT}
User root
IdentityFile ${this.#at('user-key')}
IdentitiesOnly yes
IdentityAgent none
BatchMode yes
StrictHostKeyChecking yes
UserKnownHostsFile ${this.#at('known-hosts')}
GlobalKnownHostsFile none
`;
    await writeFile(this.configFile, config);
  }

  async #buildRoot(): Promise<void> {
    const root = this.#at('root');
    for (const name of 'dev etc proc run sbin sys tmp root var/lib'.split(' ')) {
      await mkdir(join(root, name), { recursive: true });
    }
    const program = await findOneFile('x64');
    await copyPrograms(PROGRAMS, program === undefined ? [] : [program.path], root);
    const there = new Set(await readdir(join(root, 'bin')));
    for (const name of (await runOk('busybox', ['--list'])).trim().split('\n')) {
      if (!there.has(name)) await symlink('busybox', join(root, 'bin', name));
    }
    await symlink('../bin/busybox', join(root, 'sbin/init'));
    const etc = (name: string): string => join(root, 'etc', name);
    await writeFile(etc('inittab'), '::sysinit:/etc/start-up\n');
    await writeFile(etc('start-up'), START_UP, { mode: 0o755 });
    await writeFile(etc('passwd'), 'root:x:0:0::/root:/bin/sh\nsshd:x:100:65534::/run/sshd:/bin/false\n');
    await writeFile(etc('group'), 'root:x:0:\n');
    await writeFile(etc('sshd-config'), SSHD_CONFIG);
    await copyFile(this.#at('host-key'), etc('host-key'));
    await copyFile(this.#at('user-key.pub'), etc('authorized-keys'));
  }
}

/** What the kernel starts with, which mounts the disk that its command line names. @param folder is made. */
export async function packInitialSystem(folder: string, initrd: string): Promise<void> {
  for (const name of ['modules', 'dev', 'proc', 'root']) await mkdir(join(folder, name), { recursive: true });
  await copyPrograms(['busybox'], [], folder);
  const { modules } = await kernelFiles();
  for (const name of MODULES) {
    const path = modules.find((file) => file.endsWith(`/${name}.ko`));
    // Other kernels have some of them built in.
    if (path !== undefined) await copyFile(path, join(folder, 'modules', `${name}.ko`));
  }
  await writeFile(join(folder, 'init'), FIRST_INIT, { mode: 0o755 });
  const pack = 'cd "$1" && find . | busybox cpio -o -H newc >"$2"';
  await runOk('sh', ['-c', pack, 'sh', folder, initrd]);
}

export interface Machine {
  readonly initrd: string;
  /** Of the kernel. */
  readonly commandLine: string;
  /** As QEMU's options name disks and the network `net`. */
  readonly devices: readonly (readonly string[])[];
}

/** An emulated one; its console is the standard output. */
export async function startMachine({ initrd, commandLine, devices }: Machine): Promise<Started> {
  const { kernel } = await kernelFiles();
  const words = [
    ['-nodefaults', '-no-user-config', '-display', 'none', '-serial', 'stdio', '-no-reboot'],
    ['-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', '2', '-m', String(MEMORY_MIB)],
    ['-kernel', kernel, '-initrd', initrd],
    ['-append', `console=ttyS0 quiet panic=-1 ${commandLine}`],
    ...devices,
    ['-device', 'virtio-net-pci,netdev=net,romfile='],
  ];
  return await start('qemu-system-x86_64', words.flat());
}

/** Runs until its plug is pulled. */
export class Guest implements AsyncDisposable {
  readonly #machine: Started;

  constructor(machine: Started) {
    this.#machine = machine;
  }

  /**
   * What is only in its memory is lost, what it has given to its disks is not. Its connections are closed by
   * this machine, where those of a real one would be silent.
   */
  async pullPlug(): Promise<void> {
    this.#machine.kill('SIGKILL');
    await bounded('the end of the machine', this.#machine.ended);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#machine[Symbol.asyncDispose]();
  }
}

async function kernelFiles(): Promise<{ kernel: string; modules: string[] }> {
  const { root, version } = kernelFolder() ?? { root: '/', version: '' };
  const folder = join(root, 'lib/modules', version);
  const names = await readdir(folder, { recursive: true });
  return { kernel: join(root, `boot/vmlinuz-${version}`), modules: names.map((name) => join(folder, name)) };
}

/** Into its `bin`, with the libraries that they and the others need. */
async function copyPrograms(
  names: readonly string[],
  others: readonly string[],
  root: string,
): Promise<void> {
  await mkdir(join(root, 'bin'), { recursive: true });
  const paths = names.map((name) => findProgram(name) ?? name);
  for (const [index, path] of paths.entries()) await copyFile(path, join(root, 'bin', names[index] ?? ''));
  // Its status is about those without libraries.
  const { stdout } = await run('ldd', [...paths, ...others]);
  for (const library of new Set(stdout.match(/\/\S+\.so[.\d]*(?= \()/g))) {
    const copy = join(root, library);
    await mkdir(dirname(copy), { recursive: true });
    await copyFile(library, copy);
    await chmod(copy, 0o755);
  }
}
