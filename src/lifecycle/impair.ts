/**
 * A NIC of a container made worse, better again, or looked at. The kernel has all of it, in the namespace, which a stop
 * leaves; only what `--offload` changed is written down, before it is changed.
 */
import { ConflictError, HostError } from '../errors.ts';
import type { NamespaceLink } from '../host/links.ts';
import { readNamespaceLinks } from '../host/links.ts';
import {
  foreignRoot,
  hasNetem,
  impairmentOf,
  noNetem,
  planClear,
  planImpairment,
  readTcFacts,
  type TcFacts,
  type TcPlan,
  takesRoot,
} from '../network/impairment.ts';
import { planFeatures, readFeatures, resolveFeatures } from '../network/offload.ts';
import type { Impairment } from '../spec/impairment.ts';
import type { NicPlace } from '../spec/nic-place.ts';
import { readOffloadRecord, removeOffloadRecord, writeOffloadRecord } from '../state/offload-record.ts';
import { containerPaths } from '../state/paths.ts';
import { getContainer } from '../state/store.ts';
import type { Step } from '../step.ts';
import { type Context, spawnContext } from './context.ts';
import { holdAlone } from './hold.ts';
import { type Namespace, requireNamespace, requireNic } from './namespace.ts';
import { runCommands } from './run-commands.ts';

export interface ImpairRequest {
  readonly place: NicPlace;
  /** Undefined: as it is. None of its parts: none any more. */
  readonly impairment: Impairment | undefined;
  readonly offload: ReadonlyMap<string, boolean>;
  /** Everything as it was before the first impairment. */
  readonly clear: boolean;
  /** Another's root qdisc goes, too. */
  readonly force: boolean;
}

interface Plan {
  readonly namespace: Namespace;
  readonly link: NamespaceLink;
  readonly tc: TcPlan;
  readonly steps: readonly Step[];
  /** Features to be remembered first. */
  readonly before: ReadonlyMap<string, boolean> | undefined;
  /** A qdisc of another's that `clear` leaves. */
  readonly kept: string | undefined;
}

function nameOf({ container, nic }: NicPlace): string {
  return `${container}:${nic}`;
}

function offloadKey({ identity }: Namespace, { index }: NamespaceLink): string {
  return `${identity}/${index}`;
}

function refuseForeign(place: NicPlace, facts: TcFacts): void {
  const foreign = foreignRoot(facts);
  if (foreign === undefined) return;
  throw new ConflictError(
    `cannot impair ${nameOf(place)}: it has a qdisc that minict did not make (${foreign.kind} ${foreign.handle})`,
    { hint: `--force puts another in its place; tc -n ${place.container} qdisc show dev ${place.nic}` },
  );
}

async function planTc(request: ImpairRequest, tc: TcPlan): Promise<Step[]> {
  const { place, impairment, clear, force } = request;
  if (clear) {
    const foreign = force ? foreignRoot(tc.facts) : undefined;
    const argv = ['tc', '-n', tc.netns, 'qdisc', 'del', 'dev', tc.nic, 'root'];
    const removal: Step[] =
      foreign === undefined ? [] : [{ id: argv.join(' '), why: "another's qdisc", run: { kind: 'run', argv } }];
    return [...planClear(tc), ...removal];
  }
  if (impairment === undefined) return [];
  const { delayUs = 0, lossPercent = 0 } = impairment;
  const netem = (delayUs > 0 || lossPercent > 0) && (await hasNetem());
  if (delayUs > 0 && !netem) throw noNetem(`delay ${nameOf(place)}`);
  if (takesRoot(impairment, netem) && !force) refuseForeign(place, tc.facts);
  return planImpairment(tc, impairment, netem);
}

/** Throws NotFoundError, ConflictError, InvalidInputError, HostError. */
async function planRequest(context: Context, request: ImpairRequest): Promise<Plan> {
  const { place, offload, clear } = request;
  const what = `impair ${nameOf(place)}`;
  const namespace = requireNamespace(context, place.container, what);
  const link = requireNic(namespace, place.nic, what);
  const facts = await readTcFacts(namespace.netns, place.nic);
  const tc = { netns: namespace.netns, nic: place.nic, mtuBytes: link.mtuBytes, facts };
  const steps = await planTc(request, tc);
  const kept = clear && !request.force ? foreignRoot(facts) : undefined;
  const paths = containerPaths(context.roots, place.container);
  const recorded = readOffloadRecord(paths, place.nic, offloadKey(namespace, link));
  const plan = { namespace, link, tc, kept: kept && `${kept.kind} ${kept.handle}` };
  if (offload.size === 0 && !(clear && recorded !== undefined)) return { ...plan, steps, before: undefined };
  const features = await readFeatures(namespace.file, place.nic);
  const wanted = clear ? (recorded as Map<string, boolean>) : resolveFeatures(nameOf(place), offload, features);
  const changeable = [...features].filter(([, { isFixed }]) => !isFixed);
  const before = recorded ?? new Map(changeable.map(([name, { isWanted }]) => [name, isWanted]));
  return {
    ...plan,
    steps: [...steps, ...planFeatures(namespace.netns, place.nic, wanted, features)],
    before: clear ? undefined : before,
  };
}

/** Without a lock, and without a change. */
export async function impairSteps(context: Context, request: ImpairRequest): Promise<readonly Step[]> {
  await getContainer(context.roots, request.place.container);
  return (await planRequest(context, request)).steps;
}

/** What `clear` left since it is another's, if so. A failure leaves the NIC without impairment. Throws HostError. */
export async function impair(context: Context, request: ImpairRequest): Promise<string | undefined> {
  const { place, clear } = request;
  const { lock } = await holdAlone(context, place.container, false);
  try {
    const { namespace, link, tc, steps, before, kept } = await planRequest(context, request);
    const paths = containerPaths(context.roots, place.container);
    if (before !== undefined) writeOffloadRecord(paths, place.nic, offloadKey(namespace, link), before);
    const what = `impair ${nameOf(place)}`;
    const spawning = spawnContext(context, lock.fd);
    const run = (planned: readonly Step[]) => {
      return runCommands(
        what,
        planned.map((step) => step.run),
        spawning,
      );
    };
    try {
      await run(steps);
    } catch (error) {
      await run(planClear({ ...tc, facts: await readTcFacts(namespace.netns, place.nic) })).catch(() => {});
      throw error instanceof HostError
        ? new HostError(error.message, { hint: `minict net impair ${nameOf(place)} shows what there is`, cause: error })
        : error;
    }
    if (clear) removeOffloadRecord(paths, place.nic);
    return kept;
  } finally {
    lock.release();
  }
}

export interface NicImpairment extends Impairment {
  readonly nic: string;
  /** Root qdisc of another's. */
  readonly foreign?: string;
  /** Features that are other than before. */
  readonly offload: Readonly<Record<string, 'on' | 'off'>>;
}

/** Of one NIC, or of all of the container. Throws NotFoundError, ConflictError, HostError. */
export async function readImpairments(
  context: Context,
  { container, nic }: { container: string; nic: string | undefined },
): Promise<NicImpairment[]> {
  await getContainer(context.roots, container);
  const what = `show impairments of ${container}`;
  const namespace = requireNamespace(context, container, what);
  const links = nic === undefined ? readNamespaceLinks(namespace.netns) : [requireNic(namespace, nic, what)];
  const paths = containerPaths(context.roots, container);
  return Promise.all(
    links.map(async (link) => {
      const facts = await readTcFacts(namespace.netns, link.name);
      const foreign = foreignRoot(facts);
      const recorded = readOffloadRecord(paths, link.name, offloadKey(namespace, link)) ?? new Map();
      const now = recorded.size === 0 ? new Map() : await readFeatures(namespace.file, link.name);
      const changed = [...now].filter(([name, { isOn }]) => recorded.has(name) && recorded.get(name) !== isOn);
      return {
        nic: link.name,
        ...impairmentOf(facts),
        ...(foreign === undefined ? {} : { foreign: `${foreign.kind} ${foreign.handle}` }),
        offload: Object.fromEntries(changed.map(([name, { isOn }]) => [name, isOn ? 'on' : 'off'] as const)),
      };
    }),
  );
}
