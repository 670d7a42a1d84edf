/**
 * Where the one file starts. It does what launch.sh does for the source tree, then runs the command that its
 * name, or its first argument, is.
 */
import { accessSync, constants, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { getAsset } from 'node:sea';
import { toolPath } from '../../common/system-tools.ts';

const USAGE = `Usage: ddt send <arguments of ddt-send>
       ddt receive <arguments of ddt-receive>
       ddt fleet <arguments of ddt-fleet>
       ddt --version
       ddt --licenses

A link to this file that is named ddt-send, ddt-receive or ddt-fleet is that command.
`;
const USAGE_STATUS = 2;

/** As launch.sh sets them, which says why; undefined: those of Node.js. */
const THREADS = { send: '72', receive: '8', fleet: undefined } as const;

type Command = keyof typeof THREADS;

/** In the environment when it was started once more. */
const RESTARTED = 'DDT_RESTARTED';

const isCommand = (word: string | undefined): word is Command =>
  word !== undefined && Object.hasOwn(THREADS, word);

/** Takes the name of the command out of the arguments, which then begin where those of a script do. */
function takeCommand(): Command | undefined {
  const called = basename(process.argv0).replace(/^ddt-/, '');
  if (isCommand(called)) return called;
  const word = process.argv[2];
  if (!isCommand(word)) return undefined;
  process.argv.splice(2, 1);
  return word;
}

/** Nothing of the current folder is run: only absolute elements of PATH count. */
function cleanPath(): void {
  const folders = (process.env['PATH'] ?? '').split(':').filter((folder) => folder.startsWith('/'));
  process.env['PATH'] = folders.length > 0 ? folders.join(':') : toolPath(undefined);
}

/**
 * What must hold from the first instruction on is set before it: this process starts the file once more, so
 * that no program which it runs can get the rights of root back, and no ring of io_uring keeps them.
 */
function restartWithoutPrivileges(): void {
  const setpriv = isWithoutPrivileges() ? undefined : findSetpriv();
  if (setpriv === undefined && process.env['UV_USE_IO_URING'] === '0') return;
  process.env['UV_USE_IO_URING'] = '0';
  restart('receive', setpriv === undefined ? [] : [setpriv, '--no-new-privs']);
}

/** Once, whatever it finds then. @param under what the command line starts with. */
function restart(command: Command, under: readonly string[] = []): void {
  if (process.env[RESTARTED] !== undefined) return;
  process.env[RESTARTED] = '1';
  const words = [...under, process.execPath, command, ...process.argv.slice(2)];
  const [program = ''] = words;
  process.execve?.(program, words, process.env);
}

/**
 * A title takes the place of the arguments: `ddt-send: x` needs one character more than `ddt-send x` has, and
 * without its end the name of a disk is another one's.
 */
function isTitleTooLong(): boolean {
  const [, called = '', ...words] = process.argv;
  return words.length === 1 && words[0]?.startsWith('--') === false && called.length <= 'ddt-send'.length;
}

function isWithoutPrivileges(): boolean {
  try {
    return /^NoNewPrivs:\s*1$/m.test(readFileSync('/proc/self/status', 'utf8'));
  } catch {
    return false;
  }
}

function findSetpriv(): string | undefined {
  const paths = toolPath(process.env['PATH']).split(':');
  return paths.map((folder) => join(folder, 'setpriv')).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

async function showFacts(word: string | undefined): Promise<void> {
  if (word === '--version' || word === '-V') {
    const { VERSION_TEXT } = await import('../../common/protocol/version.ts');
    process.stdout.write(`${VERSION_TEXT}\n`);
  } else if (word === '--help' || word === '-h') process.stdout.write(USAGE);
  else if (word === '--licenses') process.stdout.write(getAsset('licenses.txt', 'utf8'));
  else {
    process.stderr.write(
      `ddt: error: the first argument must be send, receive or fleet\nddt: hint: ddt --help\n`,
    );
    process.exitCode = USAGE_STATUS;
  }
}

const command = takeCommand();
if (command === undefined) await showFacts(process.argv[2]);
else {
  // Everybody can read the command line of a process: a ticket on it is there until this has replaced it.
  process.title = `ddt-${command}`;
  cleanPath();
  const threads = THREADS[command];
  if (threads !== undefined) process.env['UV_THREADPOOL_SIZE'] ??= threads;
  if (command === 'receive') {
    restartWithoutPrivileges();
    Reflect.deleteProperty(process.env, RESTARTED);
    await import('../../receiver/main.ts');
  } else if (command === 'fleet') await import('../../fleet/main.ts');
  else {
    if (isTitleTooLong()) restart('send');
    Reflect.deleteProperty(process.env, RESTARTED);
    await import('../../sender/main.ts');
  }
}
