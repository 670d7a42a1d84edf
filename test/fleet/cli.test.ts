/** Arguments of ddt-fleet. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseFleetArgs, type FleetArguments } from '../../fleet/cli.ts';

const DEFAULTS: FleetArguments = {
  table: 'plans/jobs.yaml',
  tableKind: 'yaml',
  stateFolder: 'plans/jobs.fleet',
  shared: [],
  atOnceMax: 8,
  atOncePerHostMax: 4,
  attemptsMax: 10,
  pauseMs: 30_000,
  bwlimit: undefined,
  again: [],
  isDryRun: false,
  progress: 'auto',
  sshCommand: 'ssh',
  isAgentForwarded: false,
  programFile: undefined,
  remoteProgram: undefined,
  remoteDir: '/var/lib/dd-transfer',
  isKept: false,
  hooks: { onDone: undefined, onTrouble: undefined, troubleAfterMs: 300_000, isBell: false },
  web: undefined,
};

const parse = (...argv: string[]): FleetArguments | 'help' => parseFleetArgs(argv, () => {});

test('a table is enough', () => {
  assert.deepEqual(parse('plans/jobs.yaml'), DEFAULTS);
});

test('every option has its effect, and what follows -- is for every ddt-send', () => {
  const own = '--at-once 20 --at-once-per-host 2 --bwlimit 40M --attempts 3 --pause 1m --again a,b';
  const rest = '--remote-dir /r --keep';
  const hooks = '--on-done d --on-trouble t --bell --web 9000';
  const more = `--state s --progress json --forward-agent ${hooks} --program p ${rest} jobs.csv`;
  const words = [...own.split(' '), '--ssh', 'ssh -v', ...more.split(' '), '--', '--used-only'];
  assert.deepEqual(parse(...words), {
    table: 'jobs.csv',
    tableKind: 'csv',
    stateFolder: 's',
    shared: ['--used-only'],
    atOnceMax: 20,
    atOncePerHostMax: 2,
    attemptsMax: 3,
    pauseMs: 60_000,
    bwlimit: '40M',
    again: ['a', 'b'],
    isDryRun: false,
    progress: 'json',
    sshCommand: 'ssh -v',
    isAgentForwarded: true,
    programFile: 'p',
    remoteProgram: undefined,
    remoteDir: '/r',
    isKept: true,
    hooks: { onDone: 'd', onTrouble: 't', troubleAfterMs: 300_000, isBell: true },
    web: { host: '127.0.0.1', port: 9000 },
  });
});

test('--dry-run needs no value, and --web may be without one', () => {
  assert.deepEqual(parse('--dry-run', 'plans/jobs.yaml'), { ...DEFAULTS, isDryRun: true });
  const web = { host: '127.0.0.1', port: 0 };
  assert.deepEqual(parse('--web', 'plans/jobs.yaml'), { ...DEFAULTS, web });
});

test('mistakes are usage errors that say what is wrong', () => {
  for (const [words, message] of [
    ['', /^no table given$/],
    ['jobs', /ends in neither \.yaml nor \.csv$/],
    ['a.yaml b.yaml', /^one table is needed, and 'b\.yaml' is a second one$/],
    ['--at-once 0 a.yaml', /^--at-once '0' is not a whole number from 1 to 1000$/],
    ['--at-once-per-host x a.yaml', /^--at-once-per-host 'x'/],
    ['--attempts 0 a.yaml', /^--attempts '0'/],
    ['--pause 5 a.yaml', /^--pause '5' is not a duration$/],
    ['--progress loud a.yaml', /^--progress 'loud' is not one of auto, tty/],
    ['--remote-dir x a.yaml', /^--remote-dir 'x' is not an absolute path$/],
    ['--web --dry-run a.yaml', /^--web and --dry-run exclude each other$/],
    ['--program p --remote-program q a.yaml', /exclude each other$/],
    ['--colour a.yaml', /unknown option '--colour'/],
    ['a.yaml -- --receipt x', /^'--receipt' is not an option that a job can have$/],
    ['a.yaml -- --memory', /^--memory needs a value$/],
  ] as const) {
    const given = words === '' ? [] : words.split(' ');
    assert.throws(() => parse(...given), { code: 'usage', message }, words);
  }
});
