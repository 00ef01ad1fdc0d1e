/** minict events: what happened, and happens, to containers and networks. */
import { contextFrom, requireRoot } from '../lifecycle/context.ts';
import { parseTimeMs } from '../spec/time.ts';
import { type Event, olderEventsPath, parseEvent } from '../state/events.ts';
import { Lines, readGrowing } from '../state/growing-files.ts';
import { eventsPath } from '../state/paths.ts';
import { exactly, type Filters, parseFilters } from './filter.ts';
import { print, requireFormat } from './output.ts';
import { oneLine } from './report.ts';
import type { Define } from './verbs.ts';

interface EventsOptions {
  readonly since?: string;
  readonly until?: string;
  readonly stream: boolean;
  readonly format: string;
  readonly filter: string[];
}

const FILTERS: Filters<Event> = {
  container: exactly(({ type, name, container }) => (type === 'container' ? name : (container ?? ''))),
  network: exactly(({ type, name }) => (type === 'network' ? name : '')),
  event: exactly(({ action }) => action),
  type: exactly(({ type }) => type),
};

function row({ time, type, action, name, ...more }: Event): string {
  const notes = Object.entries(more).map(([key, value]) => `${key}=${value}`);
  const words = [
    new Date(time).toISOString(),
    type,
    action,
    name,
    ...(notes.length === 0 ? [] : [`(${notes.join(', ')})`]),
  ];
  return oneLine(words.join(' '));
}

export const define: Define = (command, globals) => {
  command
    .option('--since <time>', 'from then on: 5m ago, or 2026-01-31T12:00:00Z (default: now)')
    .option('--until <time>', 'up to then, and no longer')
    .option('--no-stream', 'what there is, from the beginning without --since, and no more')
    .option('--format <format>', 'table, or json: an object a line', 'table')
    .repeatable('-f, --filter <K=V>', 'those of that container, network, event or type')
    .action(async (options: EventsOptions) => {
      requireRoot('events');
      requireFormat(options.format);
      const matches = parseFilters(options.filter, FILTERS);
      const now = Date.now();
      const timeOf = (text: string | undefined, option: string) =>
        text === undefined ? undefined : parseTimeMs(text, option, now);
      const sinceMs = timeOf(options.since, '--since') ?? (options.stream ? now : 0);
      const untilMs = timeOf(options.until, '--until') ?? Number.POSITIVE_INFINITY;
      const { roots } = contextFrom(globals());
      let isRead = true;
      const lines = new Lines((line) => {
        const event = parseEvent(line.toString());
        if (event === undefined || event.time < sinceMs || event.time > untilMs || !matches(event)) return;
        const whole = { ...event, time: new Date(event.time).toISOString() };
        isRead &&= print(`${options.format === 'json' ? JSON.stringify(whole) : row(event)}\n`);
      });
      const list = () => [olderEventsPath(roots), eventsPath(roots)];
      const isOver = () => !options.stream || Date.now() > untilMs;
      await readGrowing(list, { isOver }, (bytes) => {
        lines.add(bytes);
        return isRead;
      });
    });
};
