/** What ddt-receive takes for a source on a machine that ssh reaches. No I/O. */
import { Option, type Command } from 'commander';
import { TransferError } from '../common/errors.ts';
import { parseDestination, parseRemoteDir } from '../common/ssh/destination.ts';
import { parseDuration } from '../common/units.ts';
import { readHooks } from '../common/hooks.ts';
import type { PullOptions } from './pull/pull.ts';

const HELP_HINT = 'ddt-receive --help';
/** Survives a reboot and may hold programs, unlike /run and, at times, /tmp. */
const REMOTE_DIR = '/var/lib/dd-transfer';
const RETRY_FOR = '24h';

/** `--format` of ddt-send, which checks it: here that is the target's. */
const SOURCE_FORMAT = '--source-format';
/** Of ddt-send, which checks them. */
const SEND_OPTIONS = [
  '--bwlimit',
  '--compress',
  '--connections',
  '--block-size',
  '--on-read-error',
  '--used-only',
  '--map-also',
  '--digest',
  '--retry-for',
  '--progress',
];
/** Options that mean nothing without a machine that ssh reaches. */
const PULL_OPTIONS = [
  '--ssh',
  '--program',
  '--remote-program',
  '--remote-dir',
  '--keep',
  SOURCE_FORMAT,
  ...SEND_OPTIONS,
];
/** For both sides of a run that pulls. */
const HOOK_OPTIONS = ['--on-done', '--on-trouble', '--trouble-after', '--bell'];
/** For the receiver of a run that pulls: for its first start, and for each. */
const FIRST_OPTIONS = ['--discard-transfer', '--yes', '--update', '--adopt'];
const OWN_OPTIONS = [
  '--advertise',
  '--state-dir',
  '--format',
  '--s3-endpoint',
  '--overwrite-target',
  '--verify',
  '--max-connections',
  '--memory',
  '--tls-cert',
  '--tls-key',
];

/** Whether one of the words is on another machine. @throws TransferError `usage`. */
export function namesSource(words: readonly string[]): boolean {
  return words.length > 1 && words.some((word) => parseDestination(word, 'source') !== undefined);
}

/** @param words after the target. @throws TransferError `usage`. */
export function readPull(command: Command, target: string, words: readonly string[]): PullOptions {
  const [text = '', ...more] = words;
  const source = more.length > 0 ? undefined : parseDestination(text, 'source');
  if (source === undefined) {
    const what = more.length > 0 ? 'too many arguments beside a source' : 'the target comes first';
    throw new TransferError('usage', `${what}: expected <target> [user@]host:source`, {
      hint: 'with the host, a colon, and the path there: ddt-receive <target> root@old:/dev/sda',
    });
  }
  if (source.path === '-') {
    throw new TransferError('usage', 'a pipe cannot be copied from another machine', {
      hint: `on that machine: … | ddt-send - root@this-machine:${target}`,
    });
  }
  const known = ['--listen', ...HOOK_OPTIONS, ...FIRST_OPTIONS, ...OWN_OPTIONS, ...PULL_OPTIONS];
  const others = command.options.map(({ long }) => long ?? '').filter((name) => !known.includes(name));
  refuseGiven(command, others, 'cannot be combined with a source like root@old:/dev/sda');
  const raw = command.opts<Record<string, string | boolean | undefined>>();
  const value = (name: string): string | undefined => {
    const found = raw[name];
    return typeof found === 'string' ? found : undefined;
  };
  if (raw['program'] !== undefined && raw['remoteProgram'] !== undefined) {
    throw new TransferError('usage', '--program and --remote-program exclude each other', {
      hint: HELP_HINT,
    });
  }
  return {
    source,
    sshCommand: value('ssh') ?? 'ssh',
    remoteProgram: value('remoteProgram'),
    programFile: value('program'),
    base: parseRemoteDir(value('remoteDir') ?? REMOTE_DIR),
    isKept: raw['keep'] === true,
    advertise: value('advertise'),
    receiver: {
      target,
      always: wordsOf(command, OWN_OPTIONS),
      first: wordsOf(command, FIRST_OPTIONS),
      listen: wordsOf(command, ['--listen'])[1],
    },
    sendWords: [
      ...wordsOf(command, [...SEND_OPTIONS, '--trouble-after']),
      ...wordsOf(command, [SOURCE_FORMAT]).map((word) => (word === SOURCE_FORMAT ? '--format' : word)),
    ],
    retryForMs: parseDuration(value('retryFor') ?? RETRY_FOR, '--retry-for'),
    hooks: readHooks(raw),
  };
}

/** Those of them that were given, as they were. */
function wordsOf(command: Command, names: readonly string[]): string[] {
  const given = command.options.filter(({ long }) => long !== undefined && names.includes(long));
  return given.flatMap((option) => {
    const attribute = option.attributeName();
    if (command.getOptionValueSource(attribute) !== 'cli') return [];
    const value: unknown = command.getOptionValue(attribute);
    return typeof value === 'string' ? [option.long ?? '', value] : [option.long ?? ''];
  });
}

/** @throws TransferError `usage`. */
function refuseGiven(command: Command, names: readonly string[], why: string): void {
  const [first] = wordsOf(command, names);
  if (first !== undefined) throw new TransferError('usage', `${first} ${why}`, { hint: HELP_HINT });
}

/** @throws TransferError `usage`. */
export function refuseWithoutSource(command: Command): void {
  refuseGiven(command, PULL_OPTIONS, 'is only for a source like root@old:/dev/sda');
}

/** @returns the command. */
export function addPullOptions(command: Command): Command {
  return command
    .option('--ssh <command>', 'run this instead of ssh: "ssh -i key"')
    .option('--program <file>', 'the ddt-linux-x64 or -arm64 to bring to the source')
    .option('--remote-program <command>', 'run this there, and bring nothing')
    .option('--remote-dir <dir>', `for the program there (default: ${REMOTE_DIR})`)
    .option('--keep', 'leave it there after the copy')
    .option('--bwlimit <limit>', 'this and the following are for the ddt-send there')
    .option('--compress <how>', 'auto, none, zstd, or zstd:1 to zstd:19')
    .option('--connections <n>', 'auto, or 1 to 64; through ssh at most 8')
    .option('--block-size <size>', 'a power of two, 64KiB to 16MiB')
    .option('--source-format <how>', 'of a source that is a file: as --format')
    .addOption(
      new Option('--on-read-error <what>', 'zero: replace unreadable sectors by zeros').choices([
        'stop',
        'zero',
      ]),
    )
    .option('--used-only', 'copy only what file systems use (with partclone)')
    .option('--map-also <types>', 'with --used-only: maps of ntfs, btrfs, too')
    .option('--digest <how>', 'of blocks: auto, sha-256, blake3')
    .option('--retry-for <duration>', 'how long without progress (default: 24h)')
    .addOption(
      new Option('--progress <format>', 'what is shown of it').choices([
        'auto',
        'tty',
        'plain',
        'json',
        'none',
      ]),
    );
}
