// The lifecycle of client certificates with the official TypeScript SDK.
//
// Reads SHIELDCERT_BASE_URL, SHIELDCERT_TOKEN and SHIELDCERT_ZONE, and SHIELDCERT_CA, the file with the CA's
// certificate. Prints a line for each step and stops at the first failure.

import assert from 'node:assert/strict';
import { X509Certificate, webcrypto } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import 'reflect-metadata'; // Which the next import needs to be there.
import * as x509 from '@peculiar/x509';
import Cloudflare from 'cloudflare';

const { SHIELDCERT_BASE_URL: baseURL, SHIELDCERT_TOKEN: token, SHIELDCERT_ZONE: zone_id } = process.env;
const ca = new X509Certificate(readFileSync(process.env.SHIELDCERT_CA));

const CERTIFICATES = 12;
const PER_PAGE = 5;
const DEADLINE = 20_000;
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';

// Without retries, so that a call that fails once is seen to fail.
const connect = (apiToken) => new Cloudflare({ apiToken, baseURL, maxRetries: 0, timeout: DEADLINE });

async function csrFor(name) {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: [{ CN: [name] }, { O: ['Temperature Testers, Inc.'] }],
    keys,
    signingAlgorithm: algorithm,
  });
  return { keys, csr: request.toString('pem') };
}

async function collect(items) {
  const all = [];
  for await (const item of items) all.push(item);
  return all;
}

const client = connect(token);
const certificates = client.clientCertificates;

async function until(id, status) {
  const deadline = Date.now() + DEADLINE;
  for (;;) {
    const seen = (await certificates.get(id, { zone_id })).status;
    if (seen === status) return;
    assert(Date.now() < deadline, `${id} is still ${seen}, not ${status}`);
    await sleep(50);
  }
}

/** Checks that the call throws this error of the SDK, with this error code of the API. */
async function refused(what, Refusal, code, call) {
  const error = await call().then(
    (response) => assert.fail(`${what}: no error, but ${JSON.stringify(response)}`),
    (error) => error,
  );
  assert(error instanceof Refusal, `${what}: ${error} instead of a ${Refusal.name}`);
  assert.deepEqual(error.errors.map((each) => each.code), [code], `${what}: the error code`);
  assert(error.headers.get('cf-ray'), `${what}: the response has no cf-ray header`);
  console.log(`refused: ${what}: ${Refusal.name}, code ${code}`);
}

const { keys, csr } = await csrFor('sensor-000');
const issued = await certificates.create({ zone_id, csr, validity_days: 30 });
assert.equal(issued.status, 'active', 'the status of a new certificate');
assert.equal(issued.common_name, 'sensor-000', 'its common name');
assert.equal(issued.organization, 'Temperature Testers, Inc.', 'its organization');
assert.equal(issued.validity_days, 30, 'its validity');
const certificate = new X509Certificate(issued.certificate);
assert(certificate.checkIssued(ca) && certificate.verify(ca.publicKey), 'the CA did not sign the certificate');
const spki = Buffer.from(await webcrypto.subtle.exportKey('spki', keys.publicKey));
assert(certificate.publicKey.export({ type: 'spki', format: 'der' }).equals(spki), "the certificate has another's key");
assert.deepEqual(certificate.keyUsage, [CLIENT_AUTH], 'what the certificate is for');
const fingerprint = certificate.fingerprint256.replaceAll(':', '').toLowerCase();
assert.equal(issued.fingerprint_sha256.toLowerCase(), fingerprint, 'its fingerprint');
console.log(`created ${issued.id}, which the CA signed`);

const ids = [issued.id];
for (let number = 1; number < CERTIFICATES; number += 1) {
  const { csr } = await csrFor(`sensor-${String(number).padStart(3, '0')}`);
  ids.push((await certificates.create({ zone_id, csr, validity_days: 30 })).id);
}
assert.equal(new Set(ids).size, CERTIFICATES, 'the number of ids');
console.log(`created ${CERTIFICATES - 1} more`);

const first = await certificates.list({ zone_id, per_page: PER_PAGE });
const sizes = (await collect(first.iterPages())).map((page) => page.result.length);
assert(Math.max(...sizes) === PER_PAGE && sizes.length >= 3, `the pages hold ${sizes} certificates`);
const listed = (await collect(certificates.list({ zone_id, per_page: PER_PAGE }))).map((each) => each.id);
assert.equal(new Set(listed).size, listed.length, 'the number of different ids on the list');
assert.deepEqual(ids.filter((id) => !listed.includes(id)), [], 'what the list lacks');
console.log(`listed ${listed.length} certificates on ${sizes.length} pages`);

assert.deepEqual(await certificates.get(issued.id, { zone_id }), issued, 'the certificate that was got');
console.log(`got ${issued.id}`);

const deleted = await certificates.delete(issued.id, { zone_id });
assert.equal(deleted.status, 'pending_revocation', 'the status after a delete');
await until(issued.id, 'revoked');
const revoked = (await collect(certificates.list({ zone_id, status: 'revoked' }))).map((each) => each.id);
assert(revoked.includes(issued.id), `the list of the revoked lacks ${issued.id}: ${revoked}`);
console.log(`deleted ${issued.id}: pending_revocation, then revoked`);

const edited = await certificates.edit(issued.id, { zone_id, reactivate: true });
assert.equal(edited.status, 'pending_reactivation', 'the status after an edit');
await until(issued.id, 'active');
console.log(`edited ${issued.id}: pending_reactivation, then active`);

const unknown = 'f'.repeat(32);
const { PermissionDeniedError: Denied, NotFoundError: Missing, BadRequestError: Bad } = Cloudflare;
const unauthorized = connect('wrong').clientCertificates;
const mangled = connect('two words').clientCertificates;
const create = async (changed) =>
  certificates.create({ zone_id, csr: (await csrFor('refused')).csr, validity_days: 30, ...changed });
for (const [what, Refusal, code, call] of [
  ['a wrong token', Denied, 10000, () => unauthorized.get(issued.id, { zone_id })],
  ['a malformed token', Bad, 6003, () => mangled.list({ zone_id })],
  ['an unknown id, get', Missing, 1401, () => certificates.get(unknown, { zone_id })],
  ['an unknown id, delete', Missing, 1401, () => certificates.delete(unknown, { zone_id })],
  ['an unknown id, edit', Missing, 1401, () => certificates.edit(unknown, { zone_id, reactivate: true })],
  ['a malformed zone id', Missing, 7003, () => certificates.list({ zone_id: 'short' })],
  ['a bad CSR', Bad, 1402, () => create({ csr: 'nonsense' })],
  ['a bad validity', Bad, 1403, () => create({ validity_days: 0 })],
  ['a page that is too large', Bad, 6009, () => certificates.list({ zone_id, per_page: 51 })],
  ['an edit without reactivate', Bad, 1404, () => certificates.edit(issued.id, { zone_id, reactivate: false })],
]) {
  await refused(what, Refusal, code, call);
}
