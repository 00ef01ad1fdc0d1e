/** What leaves a NIC and is lost there, by an impairment. */
import type { Loss, Node } from '../facts.ts';
import { type Finding, fail } from '../finding.ts';
import { outgoingOf, type Place, whereOf } from '../place.ts';

export function checkLoss({ facts, node, hop }: Place): Finding | undefined {
  return lossOf(facts.losses, node, outgoingOf(hop));
}

/** Where it is not all that is lost, something else may be why. */
export function lossOf(losses: ReadonlyMap<string, Loss>, node: Node, dev: string | undefined): Finding | undefined {
  const where = whereOf(node, dev);
  const loss = losses.get(where);
  if (loss === undefined) return undefined;
  const found = `${loss.by} loses ${Number(loss.percent.toFixed(3))}% of what leaves it`;
  const finding = fail(where, 'impairment', 'impaired', found, loss.fix);
  return loss.percent > 99.9 ? finding : { ...finding, isUnsure: true };
}
