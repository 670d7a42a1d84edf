/** argv → options of ddt-receive. No I/O but what commander prints. */
import { Command, CommanderError, Option } from 'commander';
import { TransferError } from '../common/errors.ts';
import { formatSize, parseSize, parseWhole } from '../common/units.ts';
import { usageErrorOf } from '../common/usage-error.ts';
import { VERSION_TEXT } from '../common/protocol/version.ts';
import { MEMORY_BYTES_MIN } from './transfer/memory-budget.ts';

export interface ReceiveOptions {
  readonly target: string;
  readonly listenHost: string;
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
  readonly log: 'text' | 'json';
  readonly tlsCert: string | undefined;
  readonly tlsKey: string | undefined;
  readonly curlHelp: boolean;
}

const HELP_AFTER = `
Examples:
  ddt-receive /dev/vdd                                an empty volume; prints ddt-send's ticket
  ddt-receive --listen 0.0.0.0:9000 --once disk.img   onto a file; ends when the copy is sealed
  ddt-receive --overwrite-target /dev/vdd             what is on the volume may be destroyed

Exit status: 0 sealed, 2 usage, 4 refused, 5 device failure, 130/143 interrupted:
after 5, 130 and 143 the same command goes on.
`;

/** @throws TransferError `usage`; `help` when that, or the version, was asked for and has been printed. */
export function parseReceiveArgs(
  argv: readonly string[],
  print: (text: string) => void,
): ReceiveOptions | 'help' {
  const command = new Command('ddt-receive')
    .version(VERSION_TEXT, '-V, --version', 'versions of dd-transfer, protocol and Node.js')
    .description('Serves one disk as the target of ddt-send. Prints a ticket; keep it secret.')
    .argument('<target>', 'block device, or file (created when absent, never under /dev)')
    .option('--listen <[host:]port>', 'address to listen on; port 0 picks a free one', '0.0.0.0:8443')
    .option('--advertise <host[:port]>', 'what the ticket says (default: the address of the default route)')
    .option(
      '--state-dir <dir>',
      'journal and keys (default: /var/lib/dd-transfer as root,\n$XDG_STATE_HOME/dd-transfer otherwise)',
    )
    .option('--ticket-file <file>', 'also write the ticket here, mode 0600')
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
    .option('--tls-cert <pem>', 'certificate file to use instead of the own one')
    .option('--tls-key <pem>', 'its key file')
    .option('--curl-help', 'print lines for curl, filled in')
    .addHelpText('after', HELP_AFTER)
    .exitOverride()
    .configureOutput({ writeOut: print, writeErr: () => {} });
  if (argv.length === 0)
    throw new TransferError('usage', `no target given\n${command.helpInformation()}${HELP_AFTER}`);
  try {
    command.parse(argv, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return 'help';
    throw usageErrorOf(error, 'ddt-receive');
  }
  return readOptions(command);
}

function readOptions(command: Command): ReceiveOptions {
  const raw = command.opts<Record<string, string | boolean | undefined>>();
  const text = (name: string): string | undefined => {
    const value = raw[name];
    return typeof value === 'string' ? value : undefined;
  };
  const listen = parseHostPort(text('listen') ?? '', '--listen');
  const advertise = text('advertise');
  const memoryBytes = parseSize(text('memory') ?? '');
  if (memoryBytes < MEMORY_BYTES_MIN) {
    throw new TransferError(
      'usage',
      `--memory ${text('memory')} is too little: at least ${formatSize(MEMORY_BYTES_MIN)}`,
    );
  }
  return {
    target: command.args[0] ?? '',
    listenHost: listen.host ?? '0.0.0.0',
    listenPort: listen.port ?? 8443,
    advertise: advertise === undefined ? undefined : parseAdvertise(advertise),
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

/** `host:port`, `[::1]:port` or `port`. */
function parseHostPort(text: string, option: string): { host: string | undefined; port: number | undefined } {
  const match = /^(?:(?:\[([0-9a-fA-F:.%a-z]+)\]|([^:[\]/\s]+)):)?(\d{1,5})$/.exec(text);
  if (match === null) {
    throw new TransferError('usage', `${option} '${text}' is not [host:]port`, {
      hint: `for example ${option} 0.0.0.0:8443`,
    });
  }
  return { host: match[1] ?? match[2], port: parseWhole(match[3] ?? '', 'port', 0, 65_535) };
}

/** `host`, `host:port`, `[::1]`, `[::1]:port`. */
function parseAdvertise(text: string): { host: string; port: number | undefined } {
  const match = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(?::(\d{1,5}))?$/.exec(text);
  if (match?.[1] === undefined) {
    throw new TransferError('usage', `--advertise '${text}' is not host[:port]`, {
      hint: 'for example --advertise vm.example.net:8443',
    });
  }
  const port = match[2] === undefined ? undefined : parseWhole(match[2], 'port', 1, 65_535);
  return { host: match[1], port };
}
