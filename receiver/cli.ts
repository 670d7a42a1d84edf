/** argv → what ddt-receive is to do. No I/O except what commander prints. */
import { Command, CommanderError, Option } from 'commander';
import { TransferError } from '../common/errors.ts';
import { parseHostPort } from '../common/host-port.ts';
import { formatSize, parseSize, parseWhole } from '../common/units.ts';
import { usageErrorOf } from '../common/usage-error.ts';
import { VERSION_TEXT } from '../common/protocol/version.ts';
import { MEMORY_BYTES_MIN } from './transfer/memory-budget.ts';

export interface ReceiveOptions {
  readonly target: string;
  /** undefined: every address, IPv4 and IPv6. */
  readonly listenHost: string | undefined;
  readonly listenPort: number;
  readonly advertise: { readonly host: string; readonly port: number | undefined } | undefined;
  readonly stateDir: string | undefined;
  readonly ticketFile: string | undefined;
  readonly overwriteTarget: boolean;
  readonly discardTransfer: boolean;
  readonly once: boolean;
  readonly isReadBack: boolean;
  readonly maxConnections: number;
  readonly memoryBytes: number;
  readonly log: LogFormat;
  readonly tlsCert: string | undefined;
  readonly tlsKey: string | undefined;
  readonly curlHelp: boolean;
}

export type LogFormat = 'text' | 'json';

/** `--list` instead of a target. */
export interface ListOptions {
  readonly stateDir: string | undefined;
  readonly log: LogFormat;
}

export type ReceiveCommand =
  /** Help or version; it has been printed. */
  | { readonly kind: 'help' }
  | { readonly kind: 'list'; readonly options: ListOptions }
  | { readonly kind: 'receive'; readonly options: ReceiveOptions };

/** The help fits a terminal of 80 columns. */
const HELP_COLUMNS = 80;
const HELP_HINT = 'ddt-receive --help';
const HELP_AFTER = `
Examples:
  ddt-receive /dev/vdd
      onto an empty volume; prints the command for the source's machine
  ddt-receive --overwrite-target /dev/vdd
      what is on the volume may be destroyed
  ddt-receive --listen :9000 --once disk.img
      onto a file; ends when the copy is sealed

Exit status: 0 sealed or listed, 2 usage, 4 refused, 5 device failure,
6 state folder full, 130/143 interrupted; after 5, 6, 130 and 143 run the same
command again to resume.
`;

/** @throws TransferError `usage`. */
export function parseReceiveArgs(argv: readonly string[], print: (text: string) => void): ReceiveCommand {
  const command = makeCommand(print);
  try {
    command.parse(argv, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return { kind: 'help' };
    throw usageErrorOf(error, 'ddt-receive');
  }
  const raw = command.opts<Record<string, string | boolean | undefined>>();
  const [target] = command.args;
  if (raw['list'] === true) return { kind: 'list', options: readListOptions(command, target) };
  if (target === undefined || target === '')
    throw new TransferError('usage', 'no target given', { hint: HELP_HINT });
  return { kind: 'receive', options: readOptions(raw, target) };
}

/** Whether messages are to be JSON, though the arguments may be wrong. */
export function wantsJsonLog(argv: readonly string[]): boolean {
  return argv.some((word, at) => word === '--log=json' || (word === '--log' && argv[at + 1] === 'json'));
}

function makeCommand(print: (text: string) => void): Command {
  return new Command('ddt-receive')
    .version(VERSION_TEXT, '-V, --version', 'versions of dd-transfer, protocol and Node.js')
    .description('Serves one disk as the target of ddt-send. Prints a ticket; keep it secret.')
    .usage('[options] <target>\n       ddt-receive --list [--state-dir <dir>]')
    .argument('[target]', 'block device, or file (created when absent, never under /dev)')
    .option(
      '--listen <[host:]port>',
      'address to listen on; without a host all addresses, IPv4 and IPv6; port 0 picks a free one',
      ':8443',
    )
    .option('--advertise <host[:port]>', 'what the ticket says (default: the address of the default route)')
    .option(
      '--state-dir <dir>',
      'journals and keys (default: /var/lib/dd-transfer as root, $XDG_STATE_HOME/dd-transfer otherwise)',
    )
    .option('--list', 'list the transfers in the state folder, running or not')
    .option('--ticket-file <file>', 'write the ticket here, mode 0600')
    .option('--overwrite-target', "the target's present content may be destroyed")
    .option('--discard-transfer', 'forget an earlier transfer onto this target')
    .option('--once', 'exit 0 when the transfer is sealed')
    .addOption(
      new Option('--verify <how>', 'none: the receipt says "not read back"')
        .choices(['read-back', 'none'])
        .default('read-back'),
    )
    .option('--max-connections <n>', 'connections at once, 1 to 4096', '256')
    .option('--memory <size>', 'most memory for block buffers', '256MiB')
    .addOption(new Option('--log <format>', 'format of messages').choices(['text', 'json']).default('text'))
    .option('--tls-cert <pem>', "certificate file to use instead of the receiver's own")
    .option('--tls-key <pem>', 'its key file')
    .option('--curl-help', 'print commands for curl, filled in')
    .addHelpText('after', HELP_AFTER)
    .configureHelp({ helpWidth: HELP_COLUMNS })
    .exitOverride()
    .configureOutput({ writeOut: print, writeErr: () => {} });
}

/** Another option beside `--list` would do nothing. */
function readListOptions(command: Command, target: string | undefined): ListOptions {
  const allowed = new Set(['list', 'stateDir', 'log']);
  const given = command.options.filter(
    (option) =>
      command.getOptionValueSource(option.attributeName()) === 'cli' && !allowed.has(option.attributeName()),
  );
  const other = target ?? given[0]?.long;
  if (other !== undefined) {
    throw new TransferError('usage', `--list cannot be combined with '${other}'`, {
      hint: 'ddt-receive --list',
    });
  }
  const { stateDir, log } = command.opts<{ stateDir?: string; log: string }>();
  return { stateDir, log: log === 'json' ? 'json' : 'text' };
}

function readOptions(
  raw: Readonly<Record<string, string | boolean | undefined>>,
  target: string,
): ReceiveOptions {
  const text = (name: string): string | undefined => {
    const value = raw[name];
    return typeof value === 'string' ? value : undefined;
  };
  const listen = parseListen(text('listen') ?? '');
  const advertise = text('advertise');
  const memoryBytes = parseSize(text('memory') ?? '');
  if (memoryBytes < MEMORY_BYTES_MIN) {
    throw new TransferError(
      'usage',
      `--memory ${text('memory')} is too little: at least ${formatSize(MEMORY_BYTES_MIN)}`,
    );
  }
  return {
    target,
    listenHost: listen.host,
    listenPort: listen.port,
    advertise: advertise === undefined ? undefined : parseHostPort(advertise, '--advertise'),
    stateDir: text('stateDir'),
    ticketFile: text('ticketFile'),
    overwriteTarget: raw['overwriteTarget'] === true,
    discardTransfer: raw['discardTransfer'] === true,
    once: raw['once'] === true,
    isReadBack: text('verify') !== 'none',
    maxConnections: parseWhole(text('maxConnections') ?? '', '--max-connections', 1, 4096),
    memoryBytes,
    log: text('log') === 'json' ? 'json' : 'text',
    tlsCert: text('tlsCert'),
    tlsKey: text('tlsKey'),
    curlHelp: raw['curlHelp'] === true,
  };
}

/** `host:port`, `[::1]:port`, `:port` or `port`. */
function parseListen(text: string): { host: string | undefined; port: number } {
  const match = /^(?:(?:\[([0-9a-fA-F:.%a-z]+)\]|([^:[\]/\s]+))?:)?(\d{1,5})$/.exec(text);
  if (match === null) {
    throw new TransferError('usage', `--listen '${text}' is not [host:]port`, {
      hint: 'for example --listen :9000',
    });
  }
  return { host: match[1] ?? match[2], port: parseWhole(match[3] ?? '', 'port', 0, 65_535) };
}
