/** The guide and the reference of ddt-fleet say what its code does. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { JOB_OPTIONS, readJobs, type Job } from '../../fleet/job.ts';
import { readTable, type TableKind } from '../../fleet/table.ts';
import { codeIn, readDocument, rowsOf } from '../support/documents.ts';

const GUIDE = await readDocument('docs/guide/fleet.md');
const REFERENCE = await readDocument('docs/reference/ddt-fleet.md');

/** Of the table in the guide, without the lines. */
function jobsOf(kind: TableKind): Job[] {
  const [, text = ''] = new RegExp(`^\`\`\`${kind}\n([^]*?)^\`\`\`$`, 'm').exec(GUIDE) ?? [];
  const { jobs, problems } = readJobs(readTable(text, kind), []);
  assert.deepEqual(problems, []);
  return jobs.map((job) => ({ ...job, line: 0 }));
}

test('the two tables of the guide are the same jobs', () => {
  const jobs = jobsOf('yaml');
  assert.equal(jobs.length, 3);
  assert.deepEqual(jobsOf('csv'), jobs);
});

test('the reference names every column, and every option that a job may have', () => {
  const columns = rowsOf(REFERENCE, 'column').map(([cell]) => codeIn(cell));
  assert.deepEqual(columns, ['source', 'target', 'name', 'options']);
  const [, list = ''] = /^These options may be in the table[^]*?\n\n([^]*?)\n\n/m.exec(REFERENCE) ?? [];
  assert.deepEqual(list.match(/--[\w-]+/g), Object.keys(JOB_OPTIONS));
});
