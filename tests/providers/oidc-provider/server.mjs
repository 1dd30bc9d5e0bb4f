// server.mjs PORT STATE_DIR: panva's oidc-provider with the password grant and JWT access tokens, on 127.0.0.1 only.
//
// Clients, with the secret `<id>-secret-0123456789`:
//   gw         no rotation                              gw-rot    rotation
//   gw-grace   rotation, the old token works 5 s more   gw-brief  rotation, access token 3 s
//   gw-es      ES256                                    gw-short  rotation, access token 3 s, refresh token 8 s
//   gw-post    client_secret_post
// and gw-sp (secret `p+q%2Fr:s`), pub (public, rotation).
// Users, with the password `Passw0rd!<name>`: alice (admin, user), bob (user), dis (disabled); uni has one of its own.
//
// Switches for tests: POST /_ctl/user/NAME {"disabled":true}, POST /_ctl/mode {"fail":503,"delay_ms":N}, GET /_ctl/log
import * as crypto from 'node:crypto';
import * as fs from 'node:fs';
import { Provider, errors } from 'oidc-provider';

const [port, stateDirectory] = [Number(process.argv[2]), process.argv[3]];
const issuer = `http://127.0.0.1:${port}`;
const RESOURCE = 'https://api.example';
const SCOPES = 'openid offline_access api';
const GRACE_MS = 5000;

// --- keys and sessions, kept in STATE_DIR ---

function loadOrMake(name, make) {
  const path = `${stateDirectory}/${name}`;
  if (!fs.existsSync(path)) fs.writeFileSync(path, JSON.stringify(make()));
  return JSON.parse(fs.readFileSync(path));
}

function makeKey(type, options, alg) {
  const { privateKey } = crypto.generateKeyPairSync(type, options);
  return { ...privateKey.export({ format: 'jwk' }), alg, kid: `${alg}-${crypto.randomUUID()}`, use: 'sig' };
}

const jwks = loadOrMake('jwks.json', () => ({
  keys: [makeKey('rsa', { modulusLength: 2048 }, 'RS256'), makeKey('ec', { namedCurve: 'P-256' }, 'ES256')],
}));

const store = new Map(loadOrMake('store.json', () => []));

// The adapter that oidc-provider brings is an LRU of 1,000 entries, which would lose live refresh tokens.
class MapAdapter {
  constructor(model) { this.model = model; }
  key(id) { return `${this.model}:${id}`; }
  async upsert(id, payload, lifetime) {
    store.set(this.key(id), { payload, expires: lifetime ? Date.now() + lifetime * 1000 : null });
  }
  async find(id) {
    const entry = store.get(this.key(id));
    if (!entry?.expires || entry.expires >= Date.now()) return entry?.payload;
    store.delete(this.key(id));
    return undefined;
  }
  async findByUid() {}
  async findByUserCode() {}
  async consume(id) {
    const payload = store.get(this.key(id))?.payload;
    if (!payload) return;
    const mark = () => { payload.consumed = Math.floor(Date.now() / 1000); };
    if (payload.clientId === 'gw-grace') setTimeout(mark, GRACE_MS).unref(); else mark();
  }
  async destroy(id) { store.delete(this.key(id)); }
  async revokeByGrantId(grantId) {
    for (const [key, entry] of store) if (entry.payload.grantId === grantId) store.delete(key);
  }
}

// --- users and clients ---

const user = (name, roles, more) => [name, {
  sub: crypto.createHash('sha256').update(name).digest('hex').slice(0, 16),
  name, roles, email: `${name}@example.com`, password: `Passw0rd!${name}`, disabled: false, ...more,
}];
const users = new Map([
  user('alice', ['admin', 'user']),
  user('bob', ['user']),
  user('dis', ['user'], { disabled: true }),
  user('uni', ['user'], { password: 'Pä ss+w%rd&=✓' }),
]);
const enabledUser = (sub) => [...users.values()].find((candidate) => candidate.sub === sub && !candidate.disabled);

const client = (id, more) => ({
  client_id: id,
  client_secret: `${id}-secret-0123456789`,
  token_endpoint_auth_method: 'client_secret_basic',
  grant_types: ['password', 'refresh_token'],
  redirect_uris: [],
  response_types: [],
  ...more,
});
const clients = [
  client('gw'), client('gw-rot'), client('gw-grace'), client('gw-brief'), client('gw-short'), client('gw-es'),
  client('gw-post', { token_endpoint_auth_method: 'client_secret_post' }),
  client('gw-sp', { client_secret: 'p+q%2Fr:s' }),
  client('pub', { token_endpoint_auth_method: 'none', client_secret: undefined }),
];
const rotating = ['gw-rot', 'gw-grace', 'gw-brief', 'gw-short', 'pub'];

const resourceServer = ({ clientId }) => ({
  scope: SCOPES,
  audience: RESOURCE,
  accessTokenFormat: 'jwt',
  accessTokenTTL: ['gw-brief', 'gw-short'].includes(clientId) ? 3 : 300,
  jwt: { sign: { alg: clientId === 'gw-es' ? 'ES256' : 'RS256' } },
});

// --- the provider ---

const provider = new Provider(issuer, {
  adapter: MapAdapter,
  jwks,
  clients,
  scopes: SCOPES.split(' '),
  claims: { openid: ['sub', 'email', 'roles'] },
  features: {
    devInteractions: { enabled: false },
    introspection: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => RESOURCE,
      useGrantedResource: () => true,
      getResourceServerInfo: (ctx, resource, of) => resourceServer(of),
    },
  },
  rotateRefreshToken: (ctx) => rotating.includes(ctx.oidc.client.clientId),
  ttl: {
    AccessToken: (ctx, token) => token.resourceServer.accessTokenTTL,
    IdToken: 300,
    Grant: 86400,
    RefreshToken: (ctx, token, of) => (of.clientId === 'gw-short' ? 8 : 86400),
  },
  extraTokenClaims: (ctx, token) => {
    const owner = enabledUser(token.accountId);
    return owner && { roles: owner.roles, email: owner.email, preferred_username: owner.name };
  },
  findAccount: (ctx, sub) => {
    const owner = enabledUser(sub);
    return owner && { accountId: sub, claims: () => ({ sub, email: owner.email, roles: owner.roles }) };
  },
});

async function passwordGrant(ctx) {
  const { params: { username, password, scope }, client: of } = ctx.oidc;
  if (!username || !password) throw new errors.InvalidRequest('missing username or password');
  const owner = users.get(username);
  if (!owner || owner.disabled || owner.password !== password) throw new errors.InvalidGrant('invalid username or password');
  const scopes = new Set((scope || SCOPES).split(' '));
  const accountId = owner.sub;

  const grant = new provider.Grant({ accountId, clientId: of.clientId });
  grant.addOIDCScope('openid offline_access');
  grant.addResourceScope(RESOURCE, SCOPES);
  const grantId = await grant.save();
  ctx.oidc.entity('Grant', grant);
  ctx.oidc.entity('Account', { accountId });

  const accessToken = new provider.AccessToken({ accountId, client: of, grantId, gty: 'password' });
  accessToken.resourceServer = new provider.ResourceServer(RESOURCE, resourceServer(of));
  accessToken.scope = grant.getResourceScopeFiltered(RESOURCE, scopes);
  ctx.oidc.entity('AccessToken', accessToken);
  const answer = { access_token: await accessToken.save(), expires_in: accessToken.expiration, token_type: 'Bearer' };

  const authTime = Math.floor(Date.now() / 1000);
  if (scopes.has('offline_access')) {
    const refreshToken = new provider.RefreshToken({
      accountId, authTime, client: of, grantId, gty: 'password', resource: RESOURCE, rotations: 0, scope: [...scopes].join(' '),
    });
    ctx.oidc.entity('RefreshToken', refreshToken);
    answer.refresh_token = await refreshToken.save();
  }
  if (scopes.has('openid')) {
    const idToken = new provider.IdToken({ sub: accountId, email: owner.email, roles: owner.roles, auth_time: authTime }, { ctx });
    idToken.scope = 'openid';
    answer.id_token = await idToken.issue({ use: 'idtoken' });
  }
  ctx.body = { ...answer, scope: accessToken.scope };
}
provider.registerGrantType('password', passwordGrant, new Set(['username', 'password', 'scope', 'resource']));

// --- switches for tests ---

const log = [];
let mode = {};

async function readJson(request) {
  let text = '';
  for await (const chunk of request) text += chunk;
  return text ? JSON.parse(text) : {};
}

provider.use(async (ctx, next) => {
  if (ctx.path === '/_ctl/log') {
    ctx.body = log;
  } else if (ctx.path === '/_ctl/mode') {
    mode = await readJson(ctx.req);
    ctx.body = mode;
  } else if (ctx.path.startsWith('/_ctl/user/')) {
    const name = ctx.path.slice('/_ctl/user/'.length);
    Object.assign(users.get(name), await readJson(ctx.req));
    ctx.body = users.get(name);
  } else {
    await serve(ctx, next);
  }
});

async function serve(ctx, next) {
  const { fail, delay_ms: delay } = ctx.path === '/token' ? mode : {};
  if (delay) await new Promise((resolve) => { setTimeout(resolve, delay); });
  if (fail) {
    ctx.status = fail;
    ctx.body = 'forced failure';
  } else {
    await next();
  }
  if (ctx.path.startsWith('/token')) {
    log.push({ path: ctx.path, status: ctx.status, grant: ctx.oidc?.params?.grant_type, client: ctx.oidc?.client?.clientId });
  }
}

provider.on('server_error', (ctx, error) => console.error(error));
provider.listen(port, '127.0.0.1', () => console.log(`READY oidc-provider ${issuer}`));
process.on('SIGTERM', () => {
  fs.writeFileSync(`${stateDirectory}/store.json`, JSON.stringify([...store]));
  process.exit(0);
});
