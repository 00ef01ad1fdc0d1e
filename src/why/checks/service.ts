/** The other end: who listens there, and what it answered. */
import { type Finding, fail, ok } from '../finding.ts';
import { insideCommand, sysctlCommand, watchCommand } from '../mend.ts';
import type { Place } from '../place.ts';
import { checkPublished } from './published.ts';

/** Pings are the kernel's to answer. */
export function checkEcho({ facts, node }: Place): Finding | undefined {
  if (facts.question.protocol !== 'icmp') return undefined;
  const key = facts.family === 4 ? 'net/ipv4/icmp_echo_ignore_all' : 'net/ipv6/icmp/echo_ignore_all';
  if (node.settings.get(key) !== '1') return undefined;
  const setting = key.replaceAll('/', '.');
  return fail(node.name, 'listening', 'not-listening', `${setting} is 1`, sysctlCommand(node, setting, 0));
}

export function checkListening(place: Place): Finding | undefined {
  const { facts, node, hop } = place;
  const { listeners, question } = facts;
  const { protocol } = question;
  const { ip: to, port } = hop.to;
  if (listeners === undefined || port === undefined) return undefined;
  const here = listeners.filter((each) => each.port === port);
  const all = facts.family === 4 ? ['*', '0.0.0.0'] : ['*', '::'];
  if (here.some(({ ip }) => ip === to || all.includes(ip))) return ok(node.name, 'listening', `${protocol}/${port}`);
  if (here.length > 0) {
    const found = `${protocol}/${port} is served at ${here.map(({ ip }) => ip).join(', ')} alone, not at ${to}`;
    const look = insideCommand(node, 'ss -lnp');
    return fail(node.name, 'listening', 'refused', found, { fix: `let it listen on ${to} or on all addresses`, look });
  }
  const published = checkPublished(place);
  if (published !== undefined) return published;
  return fail(node.name, 'listening', 'not-listening', `nothing listens on ${protocol}/${port}`, startCommand(node));
}

/** start leaves alone what runs, whatever has ended of it. */
function startCommand({ name, spec, isRunning }: Place['node']): string {
  const starts = (spec?.services.length ?? 0) > 0 || (spec?.command.length ?? 0) > 0;
  if (starts) return `minict ${isRunning ? 'restart' : 'start'} ${name}`;
  return spec === undefined ? 'start what serves it' : `start what serves it: minict exec -d ${name} CMD`;
}

/** What the probe came to, where nothing on the way explains it. */
export function checkAnswer({ facts, node, hop }: Place): Finding {
  const { question, probe, to } = facts;
  const what = question.port === undefined ? 'ping' : `${question.protocol}/${question.port}`;
  const where = `${question.source} → ${question.target}`;
  if (probe === 'answered') return ok(where, 'probe', `${what} answers`);
  if (probe === 'silent' && question.protocol === 'udp') {
    return ok(where, 'probe', `no answer to an empty datagram, and nobody refuses ${what}`);
  }
  if (probe === 'refused') {
    return fail(where, 'probe', 'refused', `${to} refuses ${what}`, `start what serves it at ${to}: ss -lnp there`);
  }
  const dev = hop.incoming ?? (hop.route?.kind === 'route' ? hop.route.dev : 'any');
  const look = watchCommand(node, dev, `host ${hop.to.ip}`);
  const found = `${what}: ${probe}; nothing that minict sees on the way stops it`;
  return fail(where, 'probe', 'no-answer', found, { look });
}
