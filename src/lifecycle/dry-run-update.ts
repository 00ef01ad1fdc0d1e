/** What `update` would do to a container that is up, as lines of a shell script: see dry-run.ts. */
import { cgroupPaths, readCgroupHost } from '../cgroup/cgroup.ts';
import { readLimitFacts } from '../cgroup/controllers.ts';
import { changesOf, planLimitGroups, type Setting, settingPath } from '../cgroup/limits.ts';
import { runLines, undoLines } from '../plan/shell.ts';
import { Journal } from '../runner/journal.ts';
import type { LimitChanges } from '../spec/limits.ts';
import { readEnterRecord } from '../state/enter-record.ts';
import { containerPaths } from '../state/paths.ts';
import { getContainer } from '../state/store.ts';
import type { Step } from '../step.ts';
import type { Context } from './context.ts';
import { instanceForScripts } from './dry-run-surroundings.ts';
import { updated } from './update.ts';

/** $0 has the processes, $1 is where they go; who forks meanwhile is moved by another pass, who has ended by none. */
const MOVE = `
into=$1/cgroup.procs passes=0
outside() { find "$0" -name cgroup.procs -exec cat {} + | grep -vxFf "$into"; }
while [ -n "$(outside)" ] && [ "$passes" -lt 100 ]; do
  for pid in $(outside); do echo "$pid" >"$into"; done 2>/dev/null
  passes=$((passes + 1))
done
`;

function move(from: string, to: string): Step {
  const argv = ['sh', '-c', MOVE, from, to];
  return { id: `move ${to}`, why: 'its processes, with those that they start', run: { kind: 'run', argv } };
}

/** Its records, which say what a start is to bring back, are no script's. Both are empty of a container that is not up. */
export async function updateLines(
  context: Context,
  name: string,
  changes: LimitChanges,
): Promise<{ run: string; undo: string }> {
  const before = await getContainer(context.roots, name);
  const after = updated(before, changes);
  const paths = containerPaths(context.roots, name);
  const state = new Journal(paths.journal).read();
  if (state === undefined || readEnterRecord(paths) === undefined) return { run: '', undo: '' };
  const limited = { tracking: readCgroupHost(), instance: instanceForScripts(context), name };
  const facts = readLimitFacts(after.limits ?? {}, before.limits);
  const known = new Set(state.steps.map(({ id }) => id));
  const groups = planLimitGroups(facts, limited).filter(({ id }) => !known.has(id));
  const write = (setting: Setting): Step => {
    const run = { kind: 'write', path: settingPath(setting, facts, limited), content: setting.value } as const;
    return { id: `limit ${setting.file}`, why: `limit of ${setting.controller}`, run };
  };
  const { payload } = cgroupPaths(limited.tracking, limited.instance, name);
  const made = groups.flatMap(({ claims = [] }) => claims.map((claim) => claim.name));
  const tops = [...facts.controllers.values()].map(({ mountPoint }) => mountPoint);
  const back = made.flatMap((group) => tops.filter((top) => group.startsWith(`${top}/`)).slice(0, 1));
  const changed = changesOf(after.limits ?? {}, facts, before.limits ?? {});
  const restored = changesOf(before.limits ?? {}, facts, after.limits ?? {});
  return {
    run: runLines([...groups, ...changed.map(write), ...made.map((group) => move(payload, group))]),
    undo: runLines([...restored.map(write), ...back.map((top) => move(payload, top))]) + undoLines(groups),
  };
}
