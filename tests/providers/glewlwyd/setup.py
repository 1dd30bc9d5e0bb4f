"""setup.py BASE [STATE_DIR]: waits for Glewlwyd at BASE; with STATE_DIR also makes the providers, clients and users there.

Glewlwyd calls one OpenID provider a plugin; its issuer is BASE/api/NAME:
    oidc    RS256, a refresh token works any number of times
    oidcr   RS256, a refresh token works once; reuse ends the session
    oidcs   like oidcr, the access token lives 4 s, the refresh token 20 s
    oidck   like oidcr, for the rotation of its key
    oidce   ES256
"""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request

BASE = sys.argv[1]
API = BASE + "/api"
PASSWORDS = {"uni": "Pä ss+w%rd&=✓"}
cookie = None


def wait_until_it_listens():
    deadline = time.monotonic() + 60
    while True:
        try:
            return urllib.request.urlopen(BASE + "/config")
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                sys.exit("glewlwyd did not start")
            time.sleep(0.02)


def call(method, path, body=None):
    headers = {"Content-Type": "application/json", **({"Cookie": cookie} if cookie else {})}
    data = None if body is None else json.dumps(body).encode()
    try:
        return urllib.request.urlopen(urllib.request.Request(API + path, method=method, data=data, headers=headers))
    except urllib.error.HTTPError as error:
        sys.exit(f"{method} {path}: {error.code} {error.read().decode()}")


def key_pair(state, name, *generate):
    private, public = f"{state}/{name}.key", f"{state}/{name}.pub"
    subprocess.run(["openssl", *generate, "-out", private], check=True, stderr=subprocess.DEVNULL)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    return {"key": open(private).read(), "cert": open(public).read()}


def add_provider(name, keys, kind="rsa", one_use="never", access_token=3600, refresh_token=1209600):
    call("POST", "/mod/plugin", {"module": "oidc", "name": name, "display_name": name, "parameters": {
        "iss": f"{API}/{name}", "jwt-type": kind, "jwt-key-size": "256", **keys, "jwks-show": True,
        "access-token-duration": access_token, "refresh-token-duration": refresh_token, "code-duration": 600,
        "refresh-token-rolling": False, "refresh-token-one-use": one_use,
        "allow-non-oidc": True, "auth-type-code-enabled": True, "auth-type-token-enabled": False,
        "auth-type-id-token-enabled": True, "auth-type-none-enabled": False,
        "auth-type-password-enabled": True, "auth-type-client-enabled": True, "auth-type-refresh-enabled": True,
        "auth-type-device-enabled": False, "subject-type": "public", "allowed-scope": ["openid", "api"],
        "introspection-revocation-allowed": True, "introspection-revocation-allow-target-client": True,
        "additional-parameters": [{"user-parameter": "roles", "token-parameter": "roles"},
                                  {"user-parameter": "email", "token-parameter": "email"}],
        "name-claim": "no", "email-claim": "no", "scope-claim": "no", "session-management-allowed": False}})


def add_client(client_id, secret):
    call("POST", "/client", {
        "client_id": client_id, "name": client_id, "enabled": True, "confidential": True, "client_secret": secret,
        "token_endpoint_auth_method": ["client_secret_basic", "client_secret_post"], "scope": ["api"],
        "authorization_type": ["password", "refresh_token", "delete_token"], "redirect_uri": ["https://gw.invalid/cb"]})


def add_user(name, roles, enabled=True):
    call("POST", "/user", {
        "username": name, "name": name, "email": name + "@example.com", "enabled": enabled,
        "password": PASSWORDS.get(name, "Passw0rd!" + name), "scope": ["openid", "api"], "roles": roles})


wait_until_it_listens()
if len(sys.argv) > 2:
    state = sys.argv[2]
    answer = call("POST", "/auth/", {"username": "admin", "password": "password"})
    cookie = answer.headers["Set-Cookie"].split(";")[0]

    users = json.load(call("GET", "/mod/user/database"))
    users["parameters"]["data-format"]["roles"] = {
        "multiple": True, "read": True, "write": True, "profile-read": True, "profile-write": False}
    call("PUT", "/mod/user/database", users)
    call("PUT", "/mod/user/database/reset")
    call("POST", "/scope", {"name": "api", "display_name": "api", "description": "api", "password_required": True,
                            "password_max_age": 0, "scheme": {}})

    add_client("gw", "gwsecret-0123456789")
    add_client("gw-sp", "p+q%2Fr:s")
    add_user("alice", ["admin", "user"])
    add_user("bob", ["user"])
    add_user("uni", ["user"])
    add_user("dis", ["user"], enabled=False)

    rsa = key_pair(state, "rsa", "genrsa")
    add_provider("oidc", rsa)
    add_provider("oidcr", rsa, one_use="always")
    add_provider("oidcs", rsa, one_use="always", access_token=4, refresh_token=20)
    add_provider("oidck", rsa, one_use="always")
    key_pair(state, "rotated", "genrsa")
    # The last one: the tests take its metadata for a sign that everything is there.
    add_provider("oidce", key_pair(state, "ec", "ecparam", "-name", "prime256v1", "-genkey", "-noout"), kind="ecdsa")
