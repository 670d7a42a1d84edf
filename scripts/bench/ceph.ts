/**
 * Random bytes onto new volumes of a Ceph of this machine, all through one kind of qemu-nbd, so that only its
 * clients differ. The tools take turns, each copy is flushed and compared. Prints Markdown.
 */
import { mkdtempDisposable } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { formatSize, parseSize, parseWhole } from '../../common/units.ts';
import { startCeph, unlessCephVolumes, type Ceph } from '../../test/support/ceph.ts';
import { NbdServer } from '../../test/support/nbd-server.ts';
import type { Tool } from '../../test/support/requires.ts';
import { Failure, runScript, runTool, TEMPORARY } from '../run-script.ts';
import { LOOPBACK, choosePeers, startAt, timeCopy, type Copy, type CopyJob, type Peer } from './copy.ts';
import { ddt } from './peers.ts';
import { describeMachine, formatTable, type Row } from './report.ts';

const USAGE = `usage: npm run bench:ceph -- [options]

  --size <size>           of the disk; default 1GiB
  --rounds <n>            default 3
  --tools <substring,…>   default all
  --folder <folder>       of the source; default ${TEMPORARY}

Ceph keeps all copies of all rounds on the disk of $TMPDIR. Needs ceph-common, ceph-mon,
ceph-osd, qemu-block-extra and qemu-utils; the others: apt-get install libnbd-bin
`;
const STORE_BYTES_MIN = 4 * 2 ** 30;
/** Longer than any copy. */
const LIMIT_SECONDS = 86_400;

/** A client that writes to the export. */
function client(name: string, tool: Tool, command: (job: CopyJob) => readonly string[]): Peer {
  return {
    name,
    proof: 'flushed',
    programs: [tool],
    copy: async (job) => {
      await using stack = new AsyncDisposableStack();
      return await timeCopy(job, async () => stack.use(await startAt(job.route.near, command(job))));
    },
  };
}

const PEERS: readonly Peer[] = [
  ddt('ddt'),
  ddt('ddt --verify none', { receive: ['--verify', 'none'] }),
  client('qemu-img convert -n -W -m 8', 'qemu-img', ({ source, target }) => {
    // Its default cache mode, unsafe, never flushes.
    const how = ['-n', '-W', '-m', '8', '-f', 'raw', '-O', 'raw', '-t', 'writeback'];
    return ['qemu-img', 'convert', ...how, source, target];
  }),
  client('nbdcopy', 'nbdcopy', ({ source, target }) => {
    return ['nbdcopy', '--flush', '--connections=4', '--requests=16', source, target];
  }),
];

/** Onto a volume of its own. */
async function measure(ceph: Ceph, peer: Peer, job: Omit<CopyJob, 'target'>, name: string): Promise<Copy> {
  await ceph.command('rbd', ['create', name, '--size', `${job.sizeBytes}B`]);
  const volume = `rbd:rbd/${name}:conf=${ceph.env['CEPH_CONF']}`;
  const words = ['--shared', '8', '--cache', 'none', '--discard', 'unmap', '--format', 'raw', volume];
  await using server = await NbdServer.qemu(join(job.folder, 'socket'), ...words);
  const copy = await peer.copy({ ...job, target: server.uri });
  const compare = ['compare', '-f', 'raw', '-F', 'raw', job.source, server.uri];
  await runTool('qemu-img', compare, job.signal);
  return copy;
}

async function benchCeph(parameters: string[], signal: AbortSignal): Promise<void> {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: parameters,
    options: {
      size: { ...text, default: '1GiB' },
      rounds: { ...text, default: '3' },
      tools: text,
      folder: { ...text, default: TEMPORARY },
      help: { type: 'boolean' },
    },
  });
  if (values.help === true) {
    process.stdout.write(USAGE);
    return;
  }
  const sizeBytes = parseSize(values.size);
  const rounds = parseWhole(values.rounds, '--rounds', 1, 99);
  const missing = unlessCephVolumes();
  if (missing !== false) throw new Failure(`${missing}: see --help`, 2);
  const { chosen, left } = choosePeers(PEERS, values.tools);
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await mkdtempDisposable(join(resolve(values.folder), 'ddt-bench-'))).path;
  const source = join(folder, 'source');
  const count = [`count=${sizeBytes}`, 'iflag=fullblock,count_bytes', 'conv=fsync', 'status=none'];
  await runTool('dd', ['if=/dev/urandom', `of=${source}`, 'bs=4M', ...count], signal);
  // The store needs some for itself.
  const room = STORE_BYTES_MIN + rounds * chosen.length * sizeBytes;
  const ceph = stack.use(await startCeph({ store: 'disk', sizeBytes: room }));
  const job = { route: LOOPBACK, folder, source, sizeBytes, limitSeconds: LIMIT_SECONDS, signal };
  const rows: (Row & { copies: Copy[] })[] = chosen.map((peer) => ({ peer, copies: [] }));
  for (let round = 1; round <= rounds; round++) {
    for (const row of rows) {
      const { peer, copies } = row;
      process.stderr.write(`round ${round} of ${rounds}: ${peer.name} `);
      const copy = await measure(ceph, peer, job, `disk-${rows.indexOf(row)}-${round}`);
      copies.push(copy);
      process.stderr.write(`${copy.seconds.toFixed(1)} s\n`);
    }
  }
  const machine = await describeMachine(folder, signal);
  const what = `**${formatSize(sizeBytes)} of random bytes onto a volume of Ceph**`;
  const lines = [
    machine,
    `${rounds} rounds in turn.`,
    '',
    what,
    '',
    ...formatTable(rows, rows[0], sizeBytes),
  ];
  process.stdout.write([...lines, ...left.map((reason) => `\nLeft out: ${reason}`), ''].join('\n'));
}

await runScript('bench', async (signal) => benchCeph(process.argv.slice(2), signal));
