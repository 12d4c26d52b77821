"""A pjsua2 telephone without sound: takes calls by itself, and commands as lines (dial URI, hold, resume, hangup)."""

import os
import sys

import pjsua2 as pj

SCHEME, NUMBER, HOST, PORT, TRANSPORT, OUTBOUND, MEDIA_PORT, CA, CERTIFICATE, KEY = sys.argv[1:]
KINDS = {"udp": pj.PJSIP_TRANSPORT_UDP, "tcp": pj.PJSIP_TRANSPORT_TCP, "tls": pj.PJSIP_TRANSPORT_TLS}

# What is let go of is collected, and a call that is collected is hung up.
calls = []


class Account(pj.Account):
    def onIncomingCall(self, prm):
        call = pj.Call(self, prm.callId)
        calls.append(call)
        answer = pj.CallOpParam()
        answer.statusCode = 200
        call.answer(answer)


def start(endpoint):
    endpoint.libCreate()
    config = pj.EpConfig()
    config.logConfig.level = 5
    config.logConfig.consoleLevel = 5
    # Callbacks come from libHandleEvents alone.
    config.uaConfig.threadCnt = 0
    config.uaConfig.mainThreadOnly = True
    endpoint.libInit(config)
    transport = pj.TransportConfig()
    transport.port = int(PORT)
    transport.boundAddress = transport.publicAddress = HOST
    transport.tlsConfig.CaListFile = CA
    transport.tlsConfig.certFile = CERTIFICATE
    transport.tlsConfig.privKeyFile = KEY
    transport.tlsConfig.verifyServer = True
    endpoint.transportCreate(KINDS[TRANSPORT], transport)
    endpoint.libStart()
    endpoint.audDevManager().setNullDev()
    # With one codec there is no second offer that would settle for one.
    for codec in endpoint.codecEnum2():
        endpoint.codecSetPriority(codec.codecId, 255 if codec.codecId.startswith("PCMU/") else 0)
    account = Account()
    config = pj.AccountConfig()
    config.idUri = f"{SCHEME}:{NUMBER}@{HOST}:{PORT}"
    config.sipConfig.proxies.append(f"sip:{OUTBOUND};transport={TRANSPORT};lr")
    config.mediaConfig.transportConfig.port = int(MEDIA_PORT)
    config.mediaConfig.transportConfig.boundAddress = HOST
    account.create(config, True)
    return account


def obey(account, command, params):
    prm = pj.CallOpParam(True)
    if command == "dial":
        call = pj.Call(account)
        calls.append(call)
        call.makeCall(params, prm)
    elif command == "hold":
        calls[-1].setHold(prm)
    elif command == "resume":
        prm.opt.flag = pj.PJSUA_CALL_UNHOLD
        calls[-1].reinvite(prm)
    elif command == "hangup":
        calls[-1].hangup(prm)
    else:
        raise ValueError(command)


def main():
    endpoint = pj.Endpoint()
    account = start(endpoint)
    os.set_blocking(0, False)
    pending = b""
    while True:
        endpoint.libHandleEvents(10)
        try:
            read = os.read(0, 4096)
        except BlockingIOError:
            continue
        if not read:
            # Nobody is there any more. What the library would still say to the peers is of no use to them.
            os._exit(0)
        pending += read
        while b"\n" in pending:
            line, pending = pending.split(b"\n", 1)
            command, _, params = line.decode().partition(" ")
            obey(account, command, params)


main()
