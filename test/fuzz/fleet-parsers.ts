/** Tables of jobs, as people and programs write them. */
import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { checkJobOptions, readJobs } from '../../fleet/job.ts';
import { readTable, type TableKind } from '../../fleet/table.ts';
import { mutatedText } from './mutations.ts';
import { parserProperty, type ParserProperty } from './parser-property.ts';

const places = fc.constantFrom(
  '/dev/sda',
  'root@old1:/dev/sda',
  'ssh://root@vm:22/dev/vdb',
  'vm:/dev/vdc',
  '-',
);
const options = fc.constantFrom('', '--used-only', "--ssh 'ssh -i k'", '--compress=none --keep', '--adopt');
const rows = fc.array(fc.tuple(fc.constantFrom('', 'mail', '007', '~'), places, places, options), {
  maxLength: 5,
});

const yaml = rows.map((all) =>
  all
    .map(([name, source, target, words]) => {
      const first = name === '' ? '' : `name: ${name}\n  `;
      const list = words.split(' ').join(', ');
      return `- ${first}source: "${source}"\n  target: ${target}\n  options: [${list}]\n`;
    })
    .join(''),
);
const csv = rows.map((all) =>
  ['name,source,target,options', ...all.map((cells) => cells.map((cell) => `"${cell}"`).join(','))].join(
    '\n',
  ),
);

function checkTable(kind: TableKind, text: string): void {
  const lineCount = text.split(/\r\n?|\n/).length;
  const { jobs, problems } = readJobs(readTable(text, kind), []);
  assert(jobs.length + problems.length > 0, 'jobs, or why there are none');
  for (const { line } of problems)
    assert(Number.isInteger(line) && line >= 1 && line <= lineCount, `${line}`);
  for (const job of jobs) {
    // It becomes the name of files.
    assert.match(job.name, /^[A-Za-z0-9][\w.-]*$/);
    assert.match(job.key, /^[0-9a-f]{16}$/);
    assert.doesNotMatch(job.target.far.login, /^-|@-|\s/);
    checkJobOptions(job.options);
  }
  if (problems.length > 0) return;
  for (const values of [jobs.map(({ key }) => key), jobs.map(({ name }) => name)])
    assert.equal(new Set(values).size, jobs.length, 'no job is there twice');
}

export const FLEET_PARSERS: readonly ParserProperty[] = [
  parserProperty('table of jobs in YAML', 10, mutatedText(yaml), (text) => checkTable('yaml', text)),
  parserProperty('table of jobs in CSV', 10, mutatedText(csv), (text) => checkTable('csv', text)),
];
