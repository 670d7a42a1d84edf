/** argv → options of ddt-fleet. No I/O except that commander prints help and version. */
import { Command, CommanderError, Option } from 'commander';
import { TransferError } from '../common/errors.ts';
import { BELL, ON_DONE, ON_TROUBLE, readHooks, type HookOptions } from '../common/hooks.ts';
import { VERSION_TEXT } from '../common/protocol/version.ts';
import { parseRemoteDir } from '../common/ssh/destination.ts';
import { parseDuration, parseWhole } from '../common/units.ts';
import { HELP_COLUMNS, usageErrorOf } from '../common/usage-error.ts';
import { readWatchAddress, withWatchAddress, type WatchAddress } from '../common/watch/watch-address.ts';
import { checkJobOptions } from './job.ts';
import { kindOfTable, type TableKind } from './table.ts';

const PROGRESS_FORMATS = ['auto', 'tty', 'plain', 'json', 'none'] as const;
const HINT_HELP = 'ddt-fleet --help';
const AT_ONCE_MAX = 1000;
const ATTEMPTS_MAX = 1000;
const REMOTE_DIR = '/var/lib/dd-transfer';

export interface FleetArguments {
  readonly table: string;
  readonly tableKind: TableKind;
  /** Of journal, receipts and logs. */
  readonly stateFolder: string;
  /** Options of ddt-send for every job. */
  readonly shared: readonly string[];
  readonly atOnceMax: number;
  readonly atOncePerHostMax: number;
  readonly attemptsMax: number;
  readonly pauseMs: number;
  /** Of the whole line: a limit or a timetable, or `@` and a file; undefined: no limit. */
  readonly bwlimit: string | undefined;
  /** Names of jobs that are run although they are complete. */
  readonly again: readonly string[];
  readonly isDryRun: boolean;
  readonly progress: (typeof PROGRESS_FORMATS)[number];
  readonly sshCommand: string;
  readonly isAgentForwarded: boolean;
  readonly programFile: string | undefined;
  readonly remoteProgram: string | undefined;
  readonly remoteDir: string;
  readonly isKept: boolean;
  readonly hooks: HookOptions;
  /** Where the page to watch it is served; undefined: nowhere. */
  readonly web: WatchAddress | undefined;
}

const HELP_AFTER = `
Examples:
  ddt-fleet --dry-run jobs.yaml
  ddt-fleet --at-once 20 --at-once-per-host 2 --bwlimit 40M jobs.yaml
  ddt-fleet jobs.csv -- --used-only --overwrite-target
  ddt-fleet --progress json jobs.yaml > events.json

Exit status: 0 every job verified, 2 usage or a mistake in the table, 3 all
finished, some not proven, 4 refused, 5 or 6 the journal cannot be written, 7 some
jobs failed, 130/143 interrupted. Run the same command again to resume: jobs
that are complete are left out.
`;

/** @throws TransferError `usage`. @returns `help` when that, or the version, was asked for and printed. */
export function parseFleetArgs(
  argv: readonly string[],
  print: (text: string) => void,
): FleetArguments | 'help' {
  const end = argv.indexOf('--');
  const [own, shared] = end < 0 ? [argv, []] : [argv.slice(0, end), argv.slice(end + 1)];
  const command = makeCommand(print);
  try {
    command.parse(withWatchAddress(own), { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return 'help';
    throw usageErrorOf(error, 'ddt-fleet');
  }
  checkJobOptions(shared);
  return readOptions(command, shared);
}

/** With its help, for those who print it in another form. */
export function makeCommand(print: (text: string) => void): Command {
  return new Command('ddt-fleet')
    .version(VERSION_TEXT, '-V, --version', 'versions of dd-transfer, protocol and Node.js')
    .description(
      'Copies many disks: a table names source and target of each. Interrupted, run the\n' +
        'same command again to resume.',
    )
    .usage('[options] <table> [-- <options of ddt-send>...]')
    .allowExcessArguments()
    .argument('<table>', 'jobs.yaml or jobs.csv: name, source, target and options of each job')
    .option('--at-once <n>', 'jobs that run at the same time', '8')
    .option('--at-once-per-host <n>', 'the same on each machine, of sources or of targets', '4')
    .option(
      '--bwlimit <limit>',
      "bytes per second of all jobs: 2M, or a timetable:\n'08:00,512K 19:00,off', or @file with either",
    )
    .option('--attempts <n>', 'in a row without progress, then a job has failed', '10')
    .option('--pause <duration>', 'before the second attempt; doubles, up to 30m', '30s')
    .option('--again <names>', 'run these jobs although they are complete, with commas between')
    .option('--dry-run', 'show what would be run, and the sizes; exits with 3')
    .option('--state <dir>', 'journal, receipts and logs (default: beside the table)')
    .addOption(
      new Option('--progress <format>', 'auto: tty on a terminal, else plain')
        .choices(PROGRESS_FORMATS)
        .default('auto'),
    )
    .option('--web [[host:]port]', 'serve a page to watch all jobs')
    .option('--web-key-file <file>', 'keep its key here; made if there is none')
    .option(...ON_DONE)
    .option(...ON_TROUBLE)
    .option(...BELL)
    .option('--ssh <command>', 'run this instead of ssh on this machine: "ssh -i key"', 'ssh')
    .option('--forward-agent', "sources' machines may log in to targets with your ssh agent")
    .option('--program <file>', 'the ddt-linux-x64 or -arm64 to bring to machines with sources')
    .option('--remote-program <command>', 'run this there, and bring nothing')
    .option('--remote-dir <dir>', 'for the program there', REMOTE_DIR)
    .option('--keep', 'leave the program there')
    .addHelpText('after', HELP_AFTER)
    .exitOverride()
    .configureOutput({ writeOut: print, writeErr: () => {}, getOutHelpWidth: () => HELP_COLUMNS });
}

function readOptions(command: Command, shared: readonly string[]): FleetArguments {
  const raw = command.opts<
    Partial<Record<string, string>> & { dryRun?: true; forwardAgent?: true; keep?: true }
  >();
  const [table = '', other] = command.args;
  if (other !== undefined) {
    throw new TransferError('usage', `one table is needed, and '${other}' is a second one`, {
      hint: 'options of ddt-send for all jobs come after --; ddt-fleet --help',
    });
  }
  const tableKind = kindOfTable(table);
  if (tableKind === undefined) {
    const hint = 'call it .yaml or .csv, after what is in it';
    throw new TransferError('usage', `the name of the table '${table}' ends in neither .yaml nor .csv`, {
      hint,
    });
  }
  if (raw['program'] !== undefined && raw['remoteProgram'] !== undefined) {
    throw new TransferError('usage', '--program and --remote-program exclude each other', {
      hint: HINT_HELP,
    });
  }
  if (raw['web'] !== undefined && raw.dryRun === true) {
    throw new TransferError('usage', '--web and --dry-run exclude each other', { hint: HINT_HELP });
  }
  const again = (raw['again'] ?? '').split(',').filter((name) => name !== '');
  const progress = PROGRESS_FORMATS.find((format) => format === raw['progress']) ?? 'auto';
  return {
    table,
    tableKind,
    stateFolder: raw['state'] ?? `${table.replace(/\.\w+$/, '')}.fleet`,
    shared,
    atOnceMax: parseWhole(raw['atOnce'] ?? '', '--at-once', 1, AT_ONCE_MAX),
    atOncePerHostMax: parseWhole(raw['atOncePerHost'] ?? '', '--at-once-per-host', 1, AT_ONCE_MAX),
    attemptsMax: parseWhole(raw['attempts'] ?? '', '--attempts', 1, ATTEMPTS_MAX),
    pauseMs: parseDuration(raw['pause'] ?? '', '--pause'),
    bwlimit: raw['bwlimit'],
    again,
    isDryRun: raw.dryRun === true,
    progress,
    sshCommand: raw['ssh'] ?? 'ssh',
    isAgentForwarded: raw.forwardAgent === true,
    programFile: raw['program'],
    remoteProgram: raw['remoteProgram'],
    remoteDir: parseRemoteDir(raw['remoteDir'] ?? ''),
    isKept: raw.keep === true,
    hooks: readHooks(command.opts()),
    web: readWatchAddress(raw['web'], raw['webKeyFile']),
  };
}
