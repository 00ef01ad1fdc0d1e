/**
 * The checks, in the order in which a packet meets what they look at. The first that fails explains the path; where the
 * probe was answered, nothing stops it, whatever looks odd. To add one: write a function in checks/, and put it in its place
 * in one of the lists below.
 */
import { checkReceivingAddress, checkRouterAddress, checkSourceAddress } from './checks/address.ts';
import {
  checkBridgedRules,
  checkIncomingPort,
  checkIsolation,
  checkOutgoingPort,
  checkTunnel,
} from './checks/bridge.ts';
import { checkFirewall } from './checks/firewall.ts';
import { checkContainer, checkIncomingNic, checkLoopback, checkOutgoingNic } from './checks/interface.ts';
import { checkLoss } from './checks/loss.ts';
import { checkMtu } from './checks/mtu.ts';
import { checkNeighbour, checkNeighbourBeyond } from './checks/neighbour.ts';
import { checkDestination, checkLoopbackRoute } from './checks/published.ts';
import { checkForwarding, checkLoop, checkReversePath, checkRoute } from './checks/route.ts';
import { checkAnswer, checkEcho, checkListening } from './checks/service.ts';
import type { PathFacts } from './facts.ts';
import type { Finding } from './finding.ts';
import { ipCommand, together } from './mend.ts';
import { outgoingOf, type Place, placeAt } from './place.ts';
import { routeBack } from './routers.ts';

type Check = (place: Place) => Finding | undefined;

/** On the link to the next hop. */
const LINK: readonly Check[] = [checkOutgoingPort, checkIsolation, checkBridgedRules, checkTunnel];
/** Where it comes from that link. */
const ENTER: readonly Check[] = [
  checkContainer,
  checkIncomingNic,
  checkIncomingPort,
  checkReceivingAddress,
  checkNeighbour,
  checkReversePath,
];
const SOURCE: readonly Check[] = [
  checkContainer,
  checkDestination,
  checkOutgoingNic,
  checkSourceAddress,
  checkLoopbackRoute,
  checkRoute,
  checkFirewall,
  checkLoss,
  ...LINK,
];
const ROUTER: readonly Check[] = [
  checkLoop,
  ...ENTER,
  checkDestination,
  checkForwarding,
  checkOutgoingNic,
  checkRouterAddress,
  checkRoute,
  checkFirewall,
  checkLoss,
  ...LINK,
];
const TARGET: readonly Check[] = [...ENTER, checkDestination, checkFirewall, checkEcho, checkListening];
/** A node that asks itself. */
const ITSELF: readonly Check[] = [
  checkContainer,
  checkLoopback,
  checkDestination,
  checkFirewall,
  checkEcho,
  checkListening,
];
/** An answer takes the same links, or others. */
const BACK: readonly Check[] = [
  checkLoop,
  checkNeighbour,
  checkReversePath,
  checkForwarding,
  checkRoute,
  checkFirewall,
  checkLoss,
  checkBridgedRules,
];

export interface Verdict {
  /** Up to the first that fails. */
  readonly findings: readonly Finding[];
  readonly works: boolean;
}

export function judge(facts: PathFacts): Verdict {
  const findings: Finding[] = [];
  const unsure: Finding[] = [];
  const failed = (finding: Finding | undefined, isQuiet = false): boolean => {
    if (finding === undefined) return false;
    if (finding.state === 'ok') {
      if (!isQuiet) findings.push(finding);
      return false;
    }
    if (!explains(facts, finding)) return false;
    if (finding.isUnsure) {
      unsure.push(finding);
      return false;
    }
    findings.push(finding);
    return true;
  };
  const end = (): Verdict => ({ findings, works: findings.every(({ state }) => state === 'ok') });

  for (const [place, check] of sequence(facts)) {
    const finding = check(place);
    const isQuiet = place.way === 'back' && check !== checkRoute;
    if (failed(place.way === 'back' ? asWayBack(place, finding) : afterRedirect(place, finding), isQuiet)) return end();
  }
  const last = placeAt(facts, 'there', facts.there.length - 1);
  if (last === undefined) return end();
  const answer = checkAnswer(last);
  const [guess] = unsure;
  if (answer.state === 'fail' && guess !== undefined) {
    findings.push({ ...guess, found: `probably: ${guess.found}` });
    return end();
  }
  findings.push(answer);
  const mtu = answer.state === 'ok' ? checkMtu(facts) : undefined;
  if (mtu !== undefined) findings.push(mtu);
  return end();
}

function* sequence(facts: PathFacts): Generator<readonly [Place, Check]> {
  for (const [index] of facts.there.entries()) {
    const place = placeAt(facts, 'there', index) as Place;
    for (const check of checksAt(place)) yield [place, check];
  }
  for (const [index] of facts.back.entries()) {
    const place = placeAt(facts, 'back', index) as Place;
    for (const check of BACK) yield [place, check];
  }
}

function checksAt({ hop, index, next }: Place): readonly Check[] {
  const isLocal = hop.route?.kind === 'route' && hop.route.isLocal;
  if (index === 0) return isLocal ? ITSELF : [...SOURCE, ...beyond(next)];
  return isLocal || hop.route === undefined || hop.isEnd ? TARGET : [...ROUTER, ...beyond(next)];
}

const beyond = (next: unknown): readonly Check[] => (next === undefined ? [checkNeighbourBeyond] : []);

/** Whether what a check found can be why the probe failed as it did. */
function explains({ probe }: PathFacts, { cause, refuses }: Finding): boolean {
  if (probe === 'answered') return false;
  // An answer came: nothing was lost.
  if (probe === 'refused')
    return refuses === true || ['not-listening', 'not-published', 'refused'].includes(cause ?? '');
  return true;
}

/**
 * A router whose interface to the target is gone sends packets back by its default route, and tells who sent them by an ICMP
 * redirect; who heard that holds to it for minutes after the router is mended.
 */
function afterRedirect({ hop, previous }: Place, finding: Finding | undefined): Finding | undefined {
  const isBack = hop.incoming !== undefined && hop.incoming === outgoingOf(hop);
  const isOfRouter = finding?.cause === 'nic-down' || finding?.cause === 'no-address';
  if (finding?.fix === undefined || previous === undefined || !isBack || !isOfRouter) return finding;
  return { ...finding, fix: together(finding.fix, ipCommand(previous.node, 'route flush cache')) };
}

/** Where answers leave the way on which the packet came, it is where they leave it that they go wrong. */
function asWayBack(place: Place, finding: Finding | undefined): Finding | undefined {
  const { facts, hops, index, node } = place;
  if (finding?.state !== 'fail' || facts.there.some((hop) => hop.node === node)) return finding;
  const here = hops.slice(0, index).findLast((hop) => facts.there.some((other) => other.node === hop.node));
  if (here === undefined) return finding;
  const fix = routeBack({ facts, node: here.node });
  if (fix === undefined) return finding;
  const via = `answers to ${place.to} go by ${node.name}, and end there: ${finding.check}: ${finding.found}`;
  return { ...finding, where: here.node.name, check: 'way back', cause: 'no-way-back', found: via, fix };
}
