/**
 * The main job, a disk of random bytes onto a new file, side by side with what people use instead: rounds in
 * turn, everything flushed at the end, the page cache dropped before. Prints a table in Markdown.
 */
import { mkdir, mkdtempDisposable, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { formatSize, parseSize, parseWhole } from '../common/units.ts';
import {
  describeMachine,
  formatTable,
  type Job,
  type Measurement,
  median,
  type Row,
} from './bench-report.ts';
import { measureResume } from './bench-resume.ts';
import { Failure, run, runScript, SCRIPTS, startReceiver, TEMPORARY } from './both-sides.ts';
import { findProgram, startLoopbackSsh } from './loopback-ssh.ts';

const USAGE = `usage: npm run bench:main -- [--size 2GiB] [--rounds 3] [--folder ${TEMPORARY}]

Needs twice the size in the folder; openssh-server and rsync to compare with; root to drop all caches.
`;
const CONNECTIONS = 8;
/** Below that only the start of programs is measured. */
const SIZE_BYTES_MIN = 16 * 2 ** 20;

/** For a shell, here or behind ssh. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

async function measureDdt({ folder, source, target, signal }: Job): Promise<Measurement> {
  await using stack = new AsyncDisposableStack();
  const own = stack.use(await mkdtempDisposable(join(folder, 'ddt-'))).path;
  const receiver = await startReceiver({ folder: own, target, signal }, stack);
  const parameters = [
    '--ticket-file',
    receiver.ticketFile,
    '--connections',
    `${CONNECTIONS}`,
    '--progress',
    'json',
  ];
  const sender = await run(join(SCRIPTS, 'ddt-send'), [...parameters, source], signal);
  receiver.process.kill('SIGTERM');
  const { peakMemoryBytes } = await receiver.process.ended;
  const { verified }: { verified?: string } = JSON.parse(sender.lines.at(-1) ?? '{}');
  const proof = `digests, flushed${verified === 'read-back' ? ', read back' : ''}`;
  return {
    seconds: sender.seconds,
    proof,
    senderBytes: sender.peakMemoryBytes,
    receiverBytes: peakMemoryBytes,
  };
}

async function measureShell(script: string, signal: AbortSignal): Promise<Measurement> {
  const { seconds } = await run('bash', ['-c', `set -e -o pipefail; ${script}`], signal);
  return { seconds };
}

function ddToTarget({ target }: Job): string {
  return `dd of=${quoted(target)} bs=4M iflag=fullblock conv=fsync status=none`;
}

function ddThroughSsh(configFile: string, options: string): Row['measure'] {
  return async (job) => {
    const ssh = `ssh -F ${quoted(configFile)} ${options} loopback ${quoted(ddToTarget(job))}`;
    return measureShell(`dd if=${quoted(job.source)} bs=4M status=none | ${ssh}`, job.signal);
  };
}

function rsyncThroughSsh(configFile: string): Row['measure'] {
  return async ({ source, target, signal }) => {
    const shell = quoted(`ssh -F ${configFile}`);
    const places = `${quoted(source)} ${quoted(`loopback:${target}`)}`;
    return measureShell(`rsync -W --inplace --fsync -s -e ${shell} ${places}`, signal);
  };
}

/** The rows that can be measured here, and the reasons why others cannot. */
async function listRows(job: Job, stack: AsyncDisposableStack): Promise<{ rows: Row[]; left: string[] }> {
  const left: string[] = [];
  const row = (name: string, proof: string, measure: Row['measure']): Row => ({
    name,
    proof,
    measure,
    measurements: [],
  });
  const rows = [
    row(`ddt, TLS, ${CONNECTIONS} connections`, '', measureDdt),
    row('dd, disk to disk, no network', 'flushed', async (each) =>
      measureShell(`dd if=${quoted(each.source)} bs=4M status=none | ${ddToTarget(each)}`, each.signal),
    ),
  ];
  try {
    const configFile = await startLoopbackSsh(join(job.folder, 'ssh'), job.signal, stack);
    rows.push(
      row('dd \\| ssh dd', 'flushed', ddThroughSsh(configFile, '')),
      row('dd \\| ssh dd, AES-128-GCM', 'flushed', ddThroughSsh(configFile, '-c aes128-gcm@openssh.com')),
    );
    if (findProgram('rsync') === undefined) left.push('rsync is missing: apt-get install rsync');
    else
      rows.push(
        row('rsync -W --inplace over ssh', 'digest of the file, flushed', rsyncThroughSsh(configFile)),
      );
  } catch (error) {
    job.signal.throwIfAborted();
    if (!(error instanceof Failure)) throw error;
    left.push(`dd through ssh, and rsync: ${error.message.replace(/\.$/, '')}`);
  }
  return { rows, left };
}

/** Each measurement starts with a new target and reads the source from the disk. */
async function prepare({ source, target, signal }: Job): Promise<void> {
  await rm(target, { force: true });
  await run('sync', [], signal);
  if (process.getuid?.() === 0) await writeFile('/proc/sys/vm/drop_caches', '3');
  // Drops one file from the page cache, without root (dd(1), nocache).
  else await run('dd', [`if=${source}`, 'iflag=nocache', 'count=0', 'status=none'], signal);
}

async function measureRounds(job: Job, rows: readonly Row[], rounds: number): Promise<number[]> {
  const resumeSeconds: number[] = [];
  for (let round = 1; round <= rounds; round++) {
    for (const row of rows) {
      process.stderr.write(`round ${round} of ${rounds}: ${row.name.replace('\\', '')}\n`);
      await prepare(job);
      row.measurements.push(await row.measure(job));
      await run('cmp', [job.source, job.target], job.signal);
    }
    process.stderr.write(`round ${round} of ${rounds}: resume with one block missing\n`);
    await prepare(job);
    const folder = join(job.folder, `resume-${round}`);
    await mkdir(folder);
    resumeSeconds.push(await measureResume({ ...job, folder }));
    await run('cmp', [job.source, job.target], job.signal);
  }
  return resumeSeconds;
}

async function bench(parameters: string[], signal: AbortSignal): Promise<void> {
  const { values } = parseArgs({
    args: parameters,
    options: {
      size: { type: 'string' },
      rounds: { type: 'string' },
      folder: { type: 'string' },
      help: { type: 'boolean' },
    },
  });
  if (values.help === true) {
    process.stdout.write(USAGE);
    return;
  }
  const sizeBytes = parseSize(values.size ?? '2GiB');
  if (sizeBytes < SIZE_BYTES_MIN) throw new Failure(`--size is at least ${formatSize(SIZE_BYTES_MIN)}`, 2);
  const rounds = parseWhole(values.rounds ?? '3', '--rounds', 1, 99);
  await using stack = new AsyncDisposableStack();
  const parent = resolve(values.folder ?? TEMPORARY);
  const folder = stack.use(await mkdtempDisposable(join(parent, 'ddt-bench-'))).path;
  const job: Job = {
    folder,
    source: join(folder, 'source'),
    target: join(folder, 'target'),
    sizeBytes,
    signal,
  };
  const count = [`count=${sizeBytes}`, 'iflag=fullblock,count_bytes', 'conv=fsync', 'status=none'];
  await run('dd', ['if=/dev/urandom', `of=${job.source}`, 'bs=4M', ...count], signal);
  const { rows, left } = await listRows(job, stack);
  const resumeSeconds = await measureRounds(job, rows, rounds);
  const lines = [
    `${formatSize(sizeBytes)} of random bytes over loopback, ${rounds} rounds in turn`,
    `(\`npm run bench:main -- --size ${values.size ?? '2GiB'} --rounds ${rounds}\`).`,
    await describeMachine(job),
    '',
    ...formatTable(rows, sizeBytes),
    '',
    `Resumed with one block missing: ${median(resumeSeconds).toFixed(2)} s ` +
      `(${Math.min(...resumeSeconds).toFixed(2)}–${Math.max(...resumeSeconds).toFixed(2)}).`,
    ...left.map((reason) => `Left out: ${reason}.`),
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
}

await runScript('bench', async (signal) => bench(process.argv.slice(2), signal));
