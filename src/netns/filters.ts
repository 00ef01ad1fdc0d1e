/** Filters of tc(8): u32 with its matches, and classic BPF, as lines that tc takes. What else there is stands behind a `#`. */
import type { NetnsPlace } from './kind.ts';
import { readIn } from './kind.ts';

/** What is done with a packet, where it is not a class alone: `action mirred egress redirect dev ifb0`. */
function actionWords(entry: string): string | undefined {
  const actions = entry.split(/(?= action order \d+: )/).slice(1);
  const words = actions.map((action) => {
    const [, way, dev] = /: mirred \(Egress (Redirect|Mirror) to device (\S+)\)/.exec(action) ?? [];
    if (way !== undefined) return `action mirred egress ${way.toLowerCase()} dev ${dev}`;
    const verdict = /: gact action (pass|drop|continue|reclassify)\b/.exec(action)?.[1];
    return verdict && `action ${verdict}`;
  });
  return words.includes(undefined) ? undefined : words.join(' ');
}

/** From here on they are the kernel's, one for each preference. */
const OWN_TABLES = 0x800;

function u32Words(entry: string): string | undefined {
  const matches = [...entry.matchAll(/ match ([0-9a-f]{8})\/([0-9a-f]{8}) at (\S+)/g)];
  const actions = actionWords(entry);
  const table = Number.parseInt(/ key ht ([0-9a-f]+) /.exec(entry)?.[1] ?? '0', 16);
  if (matches.length === 0 || actions === undefined || table < OWN_TABLES || / link /.test(entry)) return undefined;
  const words = matches.map(([, value, mask, at]) => `match u32 0x${value} 0x${mask} at ${at}`);
  const flowid = /\bflowid ([0-9a-f]+:[0-9a-f]*)/.exec(entry)?.[1];
  return ['u32', ...words, ...(flowid === undefined ? [] : [`flowid ${flowid}`]), actions].join(' ').trim();
}

function bpfWords(entry: string): string | undefined {
  const bytecode = /\bbytecode ('[^']*')/.exec(entry)?.[1];
  if (bytecode === undefined || actionWords(entry) !== '') return undefined;
  const classid = /\b(?:flowid|classid) (\S+)/.exec(entry)?.[1];
  const words = [/ direct-action\b/.test(entry) ? ['da'] : [], classid === undefined ? [] : [`classid ${classid}`]];
  return ['bpf', ...words.flat(), `bytecode ${bytecode}`].join(' ');
}

/** Of one hook (`ingress`, `parent 1:`), in the order in which they are asked. */
export async function filterLines(place: NetnsPlace, dev: string, hook: string): Promise<string[]> {
  const text = await readIn(place, ['tc', 'filter', 'show', 'dev', dev, ...hook.split(' ')]);
  const shown = text.split(/^(?=filter )/m).map((entry) => entry.replace(/\s+/g, ' ').trim());
  return shown.flatMap((entry) => {
    const [, protocol, pref, kind, chain = '0', rest = ''] =
      /^filter (?:parent \S+ )?protocol (\S+) pref (\d+) (\S+)(?: chain (\d+))?(?: (.*))?$/.exec(entry) ?? [];
    // The first line of each preference, and that of a u32 table, have nothing to say.
    if (rest === '' || / fh [0-9a-f]+: ht divisor 1$/.test(entry)) return [];
    const words = kind === 'u32' ? u32Words(entry) : kind === 'bpf' ? bpfWords(entry) : undefined;
    const handle = kind === 'u32' ? undefined : / handle (\S+)/.exec(entry)?.[1];
    const begin = [
      `filter add dev ${dev} ${hook} protocol ${protocol} pref ${pref}`,
      ...(chain === '0' ? [] : [`chain ${chain}`]),
      ...(handle === undefined ? [] : [`handle ${handle}`]),
    ].join(' ');
    return [words === undefined ? `# dev ${dev} ${entry}` : `${begin} ${words}`];
  });
}
