/** minict ps */
import { lookAtLinks } from '../host/links.ts';
import { shortDigest } from '../image/reference.ts';
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { readStatus, type Status } from '../lifecycle/status.ts';
import { addressesOf, type ContainerSpec, networksOf } from '../spec/container.ts';
import { formatPort, type Port } from '../spec/port.ts';
import { formatSpan } from '../spec/time.ts';
import { findContainer, listContainers, readInstance } from '../state/store.ts';
import { exactly, type Filters, labelled, matching, oneOf, parseFilters } from './filter.ts';
import { print, requireFormat, table } from './output.ts';
import { reportError } from './report.ts';
import type { Define } from './verbs.ts';

interface Row extends Status {
  readonly name: string;
  readonly image: string;
  readonly address: string;
  readonly ports: readonly Port[];
  /** Interfaces that are taken down (`link down`). */
  readonly down: readonly string[];
}

interface PsOptions {
  readonly all?: boolean;
  readonly quiet?: boolean;
  readonly format: string;
  readonly filter: string[];
}

interface Listed {
  readonly row: Row;
  readonly spec: ContainerSpec;
}

const STATES: readonly Status['state'][] = ['ready', 'running', 'paused', 'restarting', 'stopped', 'broken'];

const FILTERS: Filters<Listed> = {
  name: matching(({ row }) => row.name),
  status: oneOf(STATES, ({ row }) => row.state),
  image: exactly(({ row }) => row.image),
  label: labelled(({ spec }) => spec.labels ?? {}),
  network: exactly(({ spec }) => networksOf(spec.nics)),
  exited: exactly(({ row }) => String(row.exitCode ?? '')),
  health: oneOf(['starting', 'healthy', 'unhealthy', 'none'], ({ row }) => row.health?.status ?? 'none'),
};

/** `running 5 minutes`, `stopped, exited (137) 3 minutes ago`: what is so, and since when. */
function sinceWhen({ state, exitCode, startedAt, finishedAt }: Row, nowMs: number): string {
  const span = (time: string) => formatSpan(nowMs - Date.parse(time));
  if (exitCode !== undefined && finishedAt !== undefined)
    return `${state}, exited (${exitCode}) ${span(finishedAt)} ago`;
  const isUp = state === 'running' || state === 'paused';
  return isUp && startedAt !== undefined ? `${state} ${span(startedAt)}` : state;
}

function statusCell(row: Row, nowMs: number): string {
  const { missing, oomKills, down, health } = row;
  const notes = [
    ...(missing.length > 0 ? [`missing: ${missing.join(', ')}`] : []),
    ...(health === undefined ? [] : [health.status]),
    ...(oomKills === undefined ? [] : [`OOM kills: ${oomKills}`]),
    ...(down.length > 0 ? [`down: ${down.join(', ')}`] : []),
  ];
  return [sinceWhen(row, nowMs), ...(notes.length === 0 ? [] : [`(${notes.join('; ')})`])].join(' ');
}

/** One without a name of its own is called by its digest. */
function shownImage(image: string): string {
  return image.startsWith('sha256:') ? shortDigest(image) : image;
}

export const define: Define = (command, globals) => {
  command
    .option('-a, --all', 'stopped ones too')
    .option('-q, --quiet', 'names only')
    .option('--format <format>', 'table or json', 'table')
    .repeatable('-f, --filter <K=V>', 'those of which name, status, image, label, … is that')
    .action(async (options: PsOptions) => {
      requireRoot('ps');
      requireFormat(options.format);
      const matches = parseFilters(options.filter, FILTERS);
      const context = contextFrom(globals());
      const instance = readInstance(context.roots) ?? '';
      const names = listContainers(context.roots);
      const links = lookAtLinks();
      const results = await Promise.allSettled(
        names.map(async (name): Promise<Listed | undefined> => {
          const spec = await findContainer(context.roots, name);
          // Removed a moment ago.
          if (spec === undefined) return undefined;
          const status = await readStatus(context, instance, spec, links);
          const address = addressesOf(spec).join(', ');
          const down = spec.nics.filter((nic) => nic.down).map((nic) => nic.name);
          const image = spec.image ?? spec.inPlace ?? '';
          return { spec, row: { name, ...status, image, address, ports: spec.ports ?? [], down } };
        }),
      );
      const found = results.flatMap((result) => {
        if (result.status === 'fulfilled') return result.value ?? [];
        process.exitCode = reportError(result.reason);
        return [];
      });
      // Who asks for a status means those that are stopped, too.
      const all = options.all || options.filter.some((word) => word.startsWith('status='));
      const wanted = found.filter((listed) => (all || listed.row.state !== 'stopped') && matches(listed));
      const shown = wanted.map(({ row }) => row);
      if (options.format === 'json') print(`${JSON.stringify(shown)}\n`);
      else if (options.quiet) print(shown.map((row) => `${row.name}\n`).join(''));
      else {
        const now = Date.now();
        const body = shown.map((row) => {
          const ports = row.ports.map(formatPort).join(', ');
          return [row.name, statusCell(row, now), shownImage(row.image), row.address, ports];
        });
        print(table([['NAME', 'STATUS', 'IMAGE', 'ADDRESS', 'PORTS'], ...body]));
      }
    });
};
