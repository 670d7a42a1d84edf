/**
 * What tests and benchmarks need beyond `npm ci`, and the Debian packages that bring it. A test that cannot
 * run gives one of these reasons to node:test's `skip`; skip-report.ts counts them and says what to install.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

const PACKAGE_OF = {
  'aarch64-linux-gnu-as': 'binutils-aarch64-linux-gnu',
  as: 'binutils',
  b3sum: 'b3sum',
  btrfs: 'btrfs-progs',
  'block-rbd.so': 'qemu-block-extra',
  busybox: 'busybox-static',
  bzip2: 'bzip2',
  cc: 'gcc',
  ceph: 'ceph-common',
  'ceph-mon': 'ceph-mon',
  'ceph-osd': 'ceph-osd',
  certtool: 'gnutls-bin',
  chromium: 'chromium',
  cryptsetup: 'cryptsetup-bin',
  curl: 'curl',
  ddrescue: 'gddrescue',
  debootstrap: 'debootstrap',
  debugfs: 'e2fsprogs',
  faketime: 'faketime',
  fish: 'fish',
  fusermount3: 'fuse3',
  git: 'git',
  groff: 'groff',
  growpart: 'cloud-guest-utils',
  ip: 'iproute2',
  iptables: 'iptables',
  losetup: 'mount',
  mcopy: 'mtools',
  'mkfs.btrfs': 'btrfs-progs',
  'mkfs.ext4': 'e2fsprogs',
  'mkfs.ntfs': 'ntfs-3g',
  'mkfs.vfat': 'dosfstools',
  'mkfs.xfs': 'xfsprogs',
  nbdcopy: 'libnbd-bin',
  nbdfuse: 'libnbd-bin',
  nbdkit: 'nbdkit',
  nc: 'netcat-openbsd',
  openssl: 'openssl',
  'partclone.btrfs': 'partclone',
  'partclone.extfs': 'partclone',
  perl: 'perl-base',
  prometheus: 'prometheus',
  'qemu-aarch64-static': 'qemu-user-static',
  'qemu-img': 'qemu-utils',
  'qemu-nbd': 'qemu-utils',
  'qemu-system-x86_64': 'qemu-system-x86',
  pvcreate: 'lvm2',
  radosgw: 'radosgw',
  'radosgw-admin': 'radosgw',
  rbd: 'ceph-common',
  resize2fs: 'e2fsprogs',
  rsync: 'rsync',
  script: 'bsdutils',
  sfdisk: 'fdisk',
  sgdisk: 'gdisk',
  ss: 'iproute2',
  ssh: 'openssh-client',
  'ssh-add': 'openssh-client',
  'ssh-agent': 'openssh-client',
  'ssh-keygen': 'openssh-client',
  sshd: 'openssh-server',
  strace: 'strace',
  sudo: 'sudo',
  'systemd-analyze': 'systemd',
  tcsh: 'tcsh',
  tmux: 'tmux',
  'vmlinuz-cloud-amd64': 'linux-image-cloud-amd64',
  xfs_io: 'xfsprogs',
  zsh: 'zsh',
  zstd: 'zstd',
} as const;

export type Tool = keyof typeof PACKAGE_OF;

export const NEEDS_ROOT = 'needs root';
export const NOT_INSTALLED = 'not installed: ';
export const NOT_APPLICABLE = 'not applicable here: ';

/** The full path of a program, also where the PATH of ordinary users does not lead. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin'];
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

/** Sorted, each once. */
export function packagesFor(tools: readonly string[]): string[] {
  const packages = tools.flatMap((tool) => (tool in PACKAGE_OF ? [PACKAGE_OF[tool as Tool]] : []));
  return [...new Set(packages)].sort();
}

export function allPackages(): string[] {
  return packagesFor(Object.keys(PACKAGE_OF));
}

export function missingTools(...tools: readonly Tool[]): Tool[] {
  return tools.filter((tool) => findProgram(tool) === undefined);
}

/** For `skip`. */
export function unlessInstalled(...tools: readonly Tool[]): string | false {
  const missing = missingTools(...tools);
  return missing.length > 0 && NOT_INSTALLED + missing.join(', ');
}

/**
 * The newest of Debian's kernels for virtual machines: in this system, or in the folder that its package was
 * unpacked into, `DDT_TEST_KERNEL`.
 */
export function kernelFolder(): { readonly root: string; readonly version: string } | undefined {
  const root = process.env['DDT_TEST_KERNEL'] ?? '/';
  const names = existsSync(join(root, 'boot')) ? readdirSync(join(root, 'boot')) : [];
  const versions = names.map((name) => /^vmlinuz-(.*-cloud-amd64)$/.exec(name)?.[1] ?? '');
  const found = versions.filter((one) => one !== '' && existsSync(join(root, 'lib/modules', one)));
  const version = found.toSorted((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1);
  return version === undefined ? undefined : { root, version };
}

/** For `skip`. */
export function unlessKernel(): string | false {
  return kernelFolder() === undefined && `${NOT_INSTALLED}vmlinuz-cloud-amd64`;
}

/** For `skip`: a disk with Debian, systemd and cloud-init to boot from. */
export function unlessCloudSystem(): string | false {
  return process.env['DDT_TEST_CLOUD'] === undefined && 'DDT_TEST_CLOUD names no disk: see CONTRIBUTING.md';
}

/** For `skip`. */
export const unlessRoot: string | false = process.getuid?.() === 0 ? false : NEEDS_ROOT;

/** For `skip`: this kernel or container lacks it, and installing a package would not help. */
export function notWorking(what: string, reason: unknown): string {
  return `${what} does not work here: ${String(reason).trim()}`;
}

/** For `skip`: there is nothing to test on this kind of machine, which is no gap in the test run. */
export function notApplicable(reason: string): string {
  return NOT_APPLICABLE + reason;
}
