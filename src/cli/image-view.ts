/** What the image verbs show: lists, documents, sizes, differences. Reads only. */
import { existsSync, readdirSync } from 'node:fs';
import { readToolOutput } from '../host/tool-output.ts';
import { type Entry, nameOf, readCatalog, readDocuments } from '../image/catalog.ts';
import { shortDigest, shownName } from '../image/reference.ts';
import { getEntry, imageOf, resolveImage } from '../image/store.ts';
import type { Context } from '../lifecycle/context.ts';
import { buildCachePaths, imagePaths, type Roots } from '../state/paths.ts';
import { printChanges } from './changes.ts';
import { print, requireFormat, table } from './output.ts';
import { reportError } from './report.ts';

/** In the units that docker shows: powers of ten. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit += 1) value /= 1000;
  return `${unit === 0 ? value : value.toPrecision(3)}${units[unit]}`;
}

interface Row {
  readonly name: string;
  readonly id: string;
  readonly created: string;
  /** Bytes of its blobs. */
  readonly size: number;
  readonly layers: number;
}

function rowOf(roots: Roots, entry: Entry): Row {
  const { manifest, config } = readDocuments(roots, entry.digest);
  return {
    name: shownName(nameOf(entry) ?? '<none>'),
    id: entry.digest,
    created: config.created ?? '',
    size: manifest.layers.reduce((sum, { size }) => sum + size, 0),
    layers: manifest.layers.length,
  };
}

export async function list(roots: Roots, options: { quiet?: boolean; all?: boolean; format: string }): Promise<void> {
  requireFormat(options.format);
  const rows: Row[] = [];
  for (const entry of await readCatalog(roots)) {
    if (!options.all && nameOf(entry) === undefined) continue;
    try {
      rows.push(rowOf(roots, entry));
    } catch (error) {
      process.exitCode = reportError(error);
    }
  }
  if (options.format === 'json') print(`${JSON.stringify(rows)}\n`);
  else if (options.quiet) print(rows.map(({ name, id }) => `${name === '<none>' ? id : name}\n`).join(''));
  else {
    const body = rows.map(({ name, id, created, size, layers }) => {
      return [name, shortDigest(id), created.slice(0, 19).replace('T', ' '), String(layers), formatBytes(size)];
    });
    print(table([['NAME', 'ID', 'CREATED', 'LAYERS', 'SIZE'], ...body]));
  }
}

export async function inspect(roots: Roots, refs: readonly string[]): Promise<void> {
  const entries = await readCatalog(roots);
  const found: object[] = [];
  for (const ref of refs) {
    try {
      const entry = getEntry(entries, ref, `inspect image ${ref}`);
      const { manifest, config } = readDocuments(roots, entry.digest);
      const names = entries.filter(({ digest }) => digest === entry.digest).flatMap((other) => nameOf(other) ?? []);
      found.push({ ...rowOf(roots, entry), names, directories: imageOf(roots, entry).layers, manifest, config });
    } catch (error) {
      process.exitCode = reportError(error);
    }
  }
  print(`${JSON.stringify(found, null, 2)}\n`);
}

export async function history(roots: Roots, ref: string, format: string): Promise<void> {
  requireFormat(format);
  const entry = getEntry(await readCatalog(roots), ref, `show image ${ref}`);
  const { manifest, config } = readDocuments(roots, entry.digest);
  const layers = [...manifest.layers];
  const rows = (config.history ?? []).map(({ created = '', created_by: createdBy = '', empty_layer: isEmpty }) => {
    const layer = isEmpty ? undefined : layers.shift();
    return { created, createdBy, size: layer?.size ?? 0, layer: layer?.digest ?? '' };
  });
  // An image may say less of itself than it has.
  for (const { digest, size } of layers) rows.push({ created: '', createdBy: '', size, layer: digest });
  rows.reverse();
  if (format === 'json') return void print(`${JSON.stringify(rows)}\n`);
  const body = rows.map(({ created, createdBy, size, layer }) => {
    return [created.slice(0, 19).replace('T', ' '), formatBytes(size), layer && shortDigest(layer), oneLine(createdBy)];
  });
  print(table([['CREATED', 'SIZE', 'LAYER', 'CREATED BY'], ...body]));
}

/** An image says what it likes: no line of it ends the table's. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\s]+/gu, ' ');
}

async function bytesOf(...paths: readonly string[]): Promise<number> {
  const output = await readToolOutput(['du', '-sxc', '--block-size=1', '--', ...paths]);
  return Number(/^(\d+)\ttotal$/m.exec(output?.stdout ?? '')?.[1] ?? 0);
}

export async function diskUse({ roots }: Context): Promise<void> {
  const entries = await readCatalog(roots);
  const { removeUnused } = await import('../lifecycle/images.ts');
  const { blobs, layers } = imagePaths(roots);
  const { dir: builds, steps } = buildCachePaths(roots);
  const kept = existsSync(steps) ? readdirSync(steps).length : 0;
  const unused = await removeUnused({ roots, verbose: false }, true);
  const rows = [
    ['images', String(new Set(entries.map(({ digest }) => digest)).size), ''],
    ['blobs', '', formatBytes(await bytesOf(blobs))],
    ['layers', '', formatBytes(await bytesOf(layers))],
    ['builds', String(kept), formatBytes(existsSync(builds) ? await bytesOf(builds) : 0)],
    ['unused', String(unused.length), formatBytes(unused.length === 0 ? 0 : await bytesOf(...unused))],
  ];
  print(table([['WHAT', 'NUMBER', 'SIZE'], ...rows]));
}

export async function diff(roots: Roots, from: string, to: string, format: string): Promise<void> {
  requireFormat(format);
  // A committed image may be blobs alone.
  const [before, after] = [await resolveImage(roots, from), await resolveImage(roots, to)];
  const { changesBetween } = await import('../storage/changes.ts');
  printChanges(changesBetween(undefined, after.layers, before.layers), format);
}
