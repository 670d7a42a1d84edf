/** What `--progress json` writes, compared with the schema in the documents. */
import assert from 'node:assert/strict';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { closed } from './closed-schema.ts';
import { readDocument } from './documents.ts';
import { eventsOf } from './processes.ts';

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

export interface ProgressSchema {
  readonly $defs: Readonly<Record<string, { readonly properties?: Readonly<Record<string, unknown>> }>>;
  readonly oneOf: readonly { readonly $ref: string }[];
}

export async function readProgressSchema(): Promise<ProgressSchema> {
  return JSON.parse(await readDocument('docs/reference/progress.schema.json')) as ProgressSchema;
}

const schema = await readProgressSchema();
const ajv = new Ajv2020({ allErrors: true, strict: true, allowUnionTypes: true });
ajv.addFormat('date-time', TIME);
ajv.addSchema(closed(schema) as object);

/** Why it is none of those objects; empty if it is one. */
export function progressErrors(event: Readonly<Record<string, unknown>>): string {
  const name = String(event['event']);
  if (!schema.oneOf.some(({ $ref }) => $ref === `#/$defs/${name}`)) return `no event ${name}`;
  // Compared with all of them, the errors would be those of each.
  const validate = ajv.compile({ $ref: `urn:dd-transfer:progress#/$defs/${name}` });
  return validate(event) ? '' : ajv.errorsText(validate.errors);
}

/** @throws AssertionError unless each line is one of the objects of the schema. */
export function progressEventsOf(stdout: string): Record<string, unknown>[] {
  const events = eventsOf(stdout);
  for (const event of events) assert.equal(progressErrors(event), '', JSON.stringify(event));
  return events;
}
