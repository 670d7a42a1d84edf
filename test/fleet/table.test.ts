/** Tables in both forms: what is read of them, and where each mistake is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { JOB_OPTIONS, hostsOf, readJobs, THIS_MACHINE, type Job } from '../../fleet/job.ts';
import { kindOfTable, readTable, type TableKind } from '../../fleet/table.ts';
import { makeCommand } from '../../sender/cli.ts';

function read(text: string, kind: TableKind = 'yaml', shared: readonly string[] = []): readonly Job[] {
  const { jobs, problems } = readJobs(readTable(text, kind), shared);
  assert.deepEqual(problems, []);
  return jobs;
}

/** `line: text` of each. */
function mistakes(text: string, kind: TableKind = 'yaml'): string[] {
  const { problems } = readJobs(readTable(text, kind), []);
  return problems.map((problem) => `${problem.line}: ${problem.text}`);
}

const YAML = `# The old house.
- source: root@old1:/dev/sda
  target: root@vm1:/dev/vdb
- name: mail
  source: /dev/disk/by-id/ata-X
  target: ssh://root@VM1.example.org:2222/dev/vdc
  options: [--used-only, --compress, "none"]
`;
const CSV = `source,target,name,options
# The old house.
root@old1:/dev/sda,root@vm1:/dev/vdb

/dev/disk/by-id/ata-X , ssh://root@VM1.example.org:2222/dev/vdc,mail,--used-only --compress 'none'
`;

test('a table in YAML and the same in CSV are the same jobs', () => {
  const [yaml, csv] = [read(YAML), read(CSV, 'csv')];
  assert.deepEqual(
    yaml.map(({ line, ...job }) => [line, job.name]),
    [
      [2, 'old1-sda-to-vm1-vdb'],
      [4, 'mail'],
    ],
  );
  assert.deepEqual(
    csv.map(({ line }) => line),
    [3, 5],
  );
  const withoutLine = (job: Job): Job => ({ ...job, line: 0 });
  assert.deepEqual(yaml.map(withoutLine), csv.map(withoutLine));
  const [first, second] = yaml;
  assert(first !== undefined && second !== undefined);
  assert.deepEqual(hostsOf(first), ['old1', 'vm1']);
  assert.deepEqual(hostsOf(second), [THIS_MACHINE, 'vm1.example.org']);
  assert.deepEqual(second.options, ['--used-only', '--compress', 'none']);
});

test('sources that servers hold belong to this machine, and each of their targets is a job', () => {
  const jobs = read(`
- source: "s3://bucket/disks#web1"
  target: vm1:/dev/vdb
  options: [--s3-endpoint, "https://s3.example.org"]
- { source: "s3://bucket/disks#web1", target: "vm2:/dev/vdb" }
- { source: "rbd:pool/image", target: "vm3:/dev/vdb" }
`);
  const facts = jobs.map(({ name, source, ...job }) => [
    name,
    source.path,
    hostsOf({ source, ...job, name }),
  ]);
  assert.deepEqual(facts, [
    ['disks_web1-to-vm1-vdb', 's3://bucket/disks#web1', [THIS_MACHINE, 'vm1']],
    ['disks_web1-to-vm2-vdb', 's3://bucket/disks#web1', [THIS_MACHINE, 'vm2']],
    ['image-to-vm3-vdb', 'rbd:pool/image', [THIS_MACHINE, 'vm3']],
  ]);
});

test('a job stays the same one with another name and other options, and is another with another disk', () => {
  const keyOf = (text: string): string | undefined => read(`- { ${text} }`)[0]?.key;
  const key = keyOf('source: /dev/sda, target: "vm:/dev/vdb"');
  assert.match(key ?? '', /^[0-9a-f]{16}$/);
  assert.equal(keyOf('name: x, source: /dev/sda, target: "vm:/dev/vdb", options: --keep'), key);
  assert.notEqual(keyOf('source: /dev/sda, target: "vm:/dev/vdc"'), key);
});

test('options for all jobs come before those of a job, and scalars are text whatever they look like', () => {
  const jobs = read('- { name: 007, source: /x, target: "vm:/no", options: "--ssh \'ssh -i k\'" }', 'yaml', [
    '--keep',
  ]);
  assert.deepEqual(jobs[0]?.options, ['--keep', '--ssh', 'ssh -i k']);
  assert.equal(jobs[0]?.name, '007');
});

test('all mistakes are named, each with its line', () => {
  const found = mistakes(`- source: /dev/sda
- target: vm:/dev/vdb
- just text
- source: /dev/sdb
  target: /dev/sdc
- source: root@old:/dev/sda
  target: /dev/sdc
- source: '-'
  target: vm:/dev/vdd
- source: disk.img
  target: vm:/dev/vde
- source: /dev/sdf
  target: vm:/dev/vdf
  colour: red
- source: /dev/sdg
  target: vm:/dev/vdg
  options: --discard-transfer
- source: /dev/sdh
  target: vm:/dev/vdh
  options: [--compress]
- source: /dev/sdi
  target: vm:/dev/vdi
  options: [--keep=yes]
- source: /dev/sdj
  target: https://203.0.113.7:8443/#pin=sha256//x&token=ddt1.x
- { name: ../x, source: /dev/sdk, target: "vm:/dev/vdk" }
- { name: [a], source: /dev/sdl, target: "vm:/dev/vdl" }
`);
  const wanted = [
    /^1: there is no target$/,
    /^2: there is no source$/,
    /^3: no job/,
    /^4: the target '\/dev\/sdc' is not on a machine that ssh reaches; for example/,
    /^6: .*for one disk, ddt-receive \/dev\/sdc root@old:\/dev\/sda; in a fleet,/,
    /^8: the source '-' is not a disk; a pipe/,
    /^10: the source 'disk.img' depends on the folder/,
    /^12: 'colour' is not one of name, source, target, options$/,
    /^15: '--discard-transfer' is not an option that a job can have; those are --block-size /,
    /^18: --compress needs a value$/,
    /^21: --keep takes no value$/,
    /^24: the target is a ticket/,
    /^26: the name '\.\.\/x' has characters/,
    /^27: name is not a text$/,
  ];
  assert.equal(found.length, wanted.length, found.join('\n'));
  for (const [at, pattern] of wanted.entries()) assert.match(found[at] ?? '', pattern);
});

test('two jobs for one target, and a target that is a source, are refused with both lines', () => {
  const found = mistakes(
    `source,target,name
/dev/sda,root@vm1:/dev/vdb,one
/dev/sdb,VM1:/dev//vdb,two
root@vm1:/dev/vdb,vm2:/dev/vdb,three
vm3:/dev/vda,admin@vm3:/dev/vda,four
/dev/sdc,vm4:/dev/vdb,ONE
`,
    'csv',
  );
  assert.deepEqual(found, [
    '3: the target VM1:/dev//vdb is that of line 2, too',
    '4: the source root@vm1:/dev/vdb is the target of line 2',
    '5: the source vm3:/dev/vda is its own target',
    '6: the name ONE is that of line 2, too: give it another one',
  ]);
});

test('what is neither YAML nor CSV is said to be so, with the line', () => {
  assert.match(mistakes('- source: "/dev/sda\n').join(), /^\d+: no YAML: /);
  assert.match(mistakes('source: /dev/sda').join(), /^1: no list of jobs/);
  assert.match(mistakes('- { source: /a, source: /b, target: "vm:/c" }').join(), /^1: no YAML: .*unique/);
  assert.match(mistakes('\n- source: *x\n  target: vm:/b').join(), /^2: no YAML: Unresolved alias/);
  assert.deepEqual(mistakes('[]'), ['1: there is no job']);
  assert.deepEqual(mistakes('source,target\n', 'csv'), ['1: there is no job']);
  assert.match(mistakes('source,target\n"/dev/sda,vm:/x\n', 'csv').join(), /^\d+: no CSV: /);
  assert.deepEqual(mistakes('/dev/sda,vm:/dev/vdb\n', 'csv'), [
    '1: the first line names no column source',
    '1: the first line names no column target',
    "1: '/dev/sda' is not one of name, source, target, options",
    "1: 'vm:/dev/vdb' is not one of name, source, target, options",
  ]);
  assert.match(mistakes('source,target,source\n', 'csv').join(), /two columns are called source/);
  assert.match(mistakes('source,target\r\n\n/a,vm:/b,c\r\n', 'csv').join(), /^3: 3 cells under 2 columns/);
  assert.deepEqual(['a.yaml', 'b.YML', 'c.csv', 'yaml'].map(kindOfTable), ['yaml', 'yaml', 'csv', undefined]);
});

test('options of a job are options of ddt-send, and take a value where those do', () => {
  const { options } = makeCommand(() => {});
  for (const [name, takesValue] of Object.entries(JOB_OPTIONS)) {
    const option = options.find(({ long }) => long === name);
    assert.equal(option?.required, takesValue, name);
  }
});
