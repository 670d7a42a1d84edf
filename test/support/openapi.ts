/** The document of the protocol, as requests are made from it and responses are compared with it. */
import assert from 'node:assert/strict';
import type { IncomingHttpHeaders } from 'node:http';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { isRecord } from '../../common/records.ts';
import { closed } from './closed-schema.ts';
import { readDocument } from './documents.ts';

export type Members = Readonly<Record<string, unknown>>;

export interface Operation {
  readonly method: string;
  /** `/blocks/{index}`. */
  readonly path: string;
  readonly id: string;
  readonly at: Members;
}

export interface Received {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** Beside the parts that are made from the document. */
export interface Filling {
  readonly params?: Readonly<Record<string, string | number>>;
  /** Default: the example of the schema; undefined where the operation has no body. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Made {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | undefined;
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const NAME = 'openapi';

function pointer(...names: readonly string[]): string {
  return names.map((name) => `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}

export class ApiDocument {
  readonly whole: Members;
  readonly #ajv: Ajv2020;
  /** `claim 201` and so on. */
  readonly seen = new Set<string>();

  private constructor(whole: Members) {
    this.whole = whole;
    // A schema of a part may stand beside a reference.
    this.#ajv = new Ajv2020({ allErrors: true, strict: true, strictTypes: false, strictRequired: false });
    // The document is one schema with them.
    this.#ajv.addVocabulary(['openapi', 'info', 'servers', 'security', 'paths', 'components']);
    this.#ajv.addFormat('uuid', UUID).addFormat('date-time', TIME);
    this.#ajv.addSchema({ ...(closed(whole) as object), $id: NAME }, NAME, false, false);
  }

  static async read(): Promise<ApiDocument> {
    return new ApiDocument(JSON.parse(await readDocument('docs/reference/openapi.json')) as Members);
  }

  get operations(): readonly Operation[] {
    const paths = this.#at('', this.whole, 'paths');
    return Object.entries(paths).flatMap(([path, item]) =>
      Object.entries(item as Members)
        .filter(([method]) => method !== 'parameters')
        .map(([method, at]) => ({
          method: method.toUpperCase(),
          path,
          id: String((at as Members)['operationId']),
          at: at as Members,
        })),
    );
  }

  operation(id: string): Operation {
    const found = this.operations.find((one) => one.id === id);
    assert(found !== undefined, `no operation ${id}`);
    return found;
  }

  /** Whether the value has the form of the schema. @returns the errors. */
  errors(schemaPath: string, value: unknown): string {
    const validate =
      this.#ajv.getSchema(`${NAME}#${schemaPath}`) ?? this.#ajv.compile({ $ref: `${NAME}#${schemaPath}` });
    return validate(value) === true ? '' : this.#ajv.errorsText(validate.errors);
  }

  /** A request as the document describes it. @throws AssertionError if it does not know a part of it. */
  make(id: string, { params = {}, headers = {}, ...given }: Filling = {}): Made {
    const { method, path, at } = this.operation(id);
    const known = this.#parameters(path, at);
    const query = new URLSearchParams();
    let filled = path;
    for (const [name, value] of Object.entries(params)) {
      const found = known.find((one) => one.in !== 'header' && one.name === name);
      assert(found !== undefined, `${id} has no parameter ${name}`);
      if (found.in === 'path') filled = filled.replace(`{${name}}`, String(value));
      else query.set(name, String(value));
    }
    for (const name of Object.keys(headers)) {
      const isKnown = known.some(
        (one) => one.in === 'header' && one.name.toLowerCase() === name.toLowerCase(),
      );
      assert(isKnown || name.toLowerCase() === 'accept', `${id} has no header ${name}`);
    }
    assert.doesNotMatch(filled, /[{}]/, `${id} without a parameter`);
    const search = query.size === 0 ? '' : `?${query.toString()}`;
    return { method, path: filled + search, headers, body: this.#body(id, at, given) };
  }

  /** @throws AssertionError unless the document has this response. */
  check(id: string, { status, headers, body }: Received): void {
    const { at, path, method } = this.operation(id);
    const own = ['paths', path, method.toLowerCase(), 'responses', String(status)];
    assert(
      String(status) in this.#at('', at, 'responses'),
      `${id} has no response ${status}: ${body.toString()}`,
    );
    const place = this.#resolve(own);
    this.seen.add(`${id} ${status}`);
    const response = this.#lookUp(place);
    for (const [name, header] of Object.entries((response['headers'] ?? {}) as Members)) {
      this.#checkHeader(`${id} ${status}`, name, header as Members, headers);
    }
    const content = response['content'];
    // A refused HEAD has no body to say why.
    if (method === 'HEAD') return assert.equal(body.length, 0);
    const type = (headers['content-type'] ?? '').split(';')[0] ?? '';
    assert(isRecord(content) && type in content, `${id} ${status} has no ${type}`);
    const schema = content[type];
    if (!isRecord(schema) || !('schema' in schema)) return undefined;
    const value: unknown = type.endsWith('json')
      ? JSON.parse(body.toString())
      : type.startsWith('text/')
        ? body.toString()
        : body;
    assert.equal(
      this.errors(pointer(...place, 'content', type, 'schema'), value),
      '',
      `${id} ${status}: ${body.toString().slice(0, 2000)}`,
    );
  }

  #checkHeader(what: string, name: string, header: Members, headers: IncomingHttpHeaders): void {
    const place = this.#resolve([], header);
    const { required, schema } = place.length === 0 ? header : this.#lookUp(place);
    const text = headers[name.toLowerCase()];
    assert(text !== undefined || required !== true, `${what} came without ${name}`);
    if (text === undefined || place.length === 0) return;
    const isNumber = isRecord(schema) && schema['type'] === 'integer';
    const value = isNumber ? Number(text) : text;
    assert.equal(this.errors(pointer(...place, 'schema'), value), '', `${what}: ${name}: ${String(text)}`);
  }

  #body(id: string, at: Members, given: Omit<Filling, 'params' | 'headers'>): Buffer | undefined {
    if (!('requestBody' in at)) {
      assert(!('body' in given), `${id} has no body`);
      return undefined;
    }
    const content = this.#at(id, this.#at(id, at, 'requestBody'), 'content');
    const [type = '', media] = Object.entries(content)[0] ?? [];
    if (type !== 'application/json') {
      assert(Buffer.isBuffer(given.body), `${id} needs bytes`);
      return given.body;
    }
    const place = this.#resolve([], this.#at(id, media as Members, 'schema'));
    const [example] = this.#lookUp(place)['examples'] as unknown[];
    const value = given.body ?? example;
    assert.equal(this.errors(pointer(...place), value), '', `${id}: ${JSON.stringify(value)}`);
    return Buffer.from(JSON.stringify(value));
  }

  #parameters(path: string, at: Members): { name: string; in: string }[] {
    const item = this.#at('', this.#at('', this.whole, 'paths'), path);
    const all = [...((item['parameters'] ?? []) as Members[]), ...((at['parameters'] ?? []) as Members[])];
    return all.map(
      (one) => ('$ref' in one ? this.#lookUp(this.#resolve([], one)) : one) as { name: string; in: string },
    );
  }

  /** Where a reference leads, or the place itself. */
  #resolve(place: readonly string[], value = this.#lookUp(place)): string[] {
    const { $ref } = value;
    return typeof $ref === 'string' ? $ref.split('/').slice(1) : [...place];
  }

  #lookUp(place: readonly string[]): Members {
    return place.reduce((at, name) => this.#at(place.join('/'), at, name), this.whole);
  }

  #at(what: string, value: Members, name: string): Members {
    const found = value[name];
    assert(isRecord(found), `${what} has no ${name}`);
    return found;
  }
}
