"""What recordings answer to an audit: the sentences, English and Swedish, by the key of `model.audit.Answer`.

``{name:unit}`` is a fact in a unit of `units.FORMATS`, ``{name~unit}`` the same with its interval (``name_low`` and
``name_high``; of a share ``low`` and ``high``), ``{name}`` the fact as it is. The units ``series``, ``state`` and
``resource`` put a name of ours into the language (`audit_words`). What stands in ``[...]`` is left out where one of its
facts is empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SAID: Mapping[str, tuple[str, str]] = {
    "latency": (
        (
            "p95 is {p95~ms} (n = {p95_n:count}), of the slowest of {parts} agents and providers ({who}) {worst~ms} "
            "(n = {worst_n:count}); limit {limit:ms}; {over} above it, {undecided} undecided"
        ),
        (
            "p95 är {p95~ms} (n = {p95_n:count}), för den långsammaste av {parts} agenter och leverantörer ({who}) "
            "{worst~ms} (n = {worst_n:count}); gräns {limit:ms}; {over} över den, {undecided} oavgjorda"
        ),
    ),
    "latency_outages": (
        (
            "p95 while nothing was broken is {p95~ms} (n = {p95_n:count}); outages included, that of the slowest of "
            "{parts} agents and providers ({who}) is {worst~ms} (n = {worst_n:count}); limit {limit:ms}"
        ),
        (
            "p95 medan inget var trasigt är {p95~ms} (n = {p95_n:count}); med avbrotten inräknade är den för den "
            "långsammaste av {parts} agenter och leverantörer ({who}) {worst~ms} (n = {worst_n:count}); gräns "
            "{limit:ms}"
        ),
    ),
    "latency_whole": (
        "p95 while nothing was broken is {p95~ms} (n = {p95_n:count}); limit {limit:ms}; not told apart by agent",
        "p95 medan inget var trasigt är {p95~ms} (n = {p95_n:count}); gräns {limit:ms}; inte uppdelat per agent",
    ),
    "cache": (
        (
            "{share~share} of {n:count} lookups hit, as the answers say; lowest: tenant {tenant} {tenant_share:share}, "
            "agent {agent} {agent_share:share}; limit {limit:share}"
        ),
        (
            "{share~share} av {n:count} uppslag träffade, enligt svaren; lägst: hyresgäst {tenant} "
            "{tenant_share:share}, "
            "agent {agent} {agent_share:share}; gräns {limit:share}"
        ),
    ),
    "cache_ledger": (
        (
            "{share~share} of {n:count} lookups hit, as the answers say (warm-up included {whole:share}, and "
            "{ledger:share} by what providers received); lowest: tenant {tenant} {tenant_share:share}, agent {agent} "
            "{agent_share:share}; limit {limit:share}"
        ),
        (
            "{share~share} av {n:count} uppslag träffade, enligt svaren (med uppvärmningen {whole:share}, och "
            "{ledger:share} enligt vad leverantörerna tog emot); lägst: hyresgäst {tenant} {tenant_share:share}, "
            "agent {agent} {agent_share:share}; gräns {limit:share}"
        ),
    ),
    "cache_disputed": (
        (
            "the answers claim {share~share} of {n:count} lookups, and {whole:share} warm-up included, but by what "
            "providers received that was {ledger:share}"
        ),
        (
            "svaren påstår {share~share} av {n:count} uppslag, och {whole:share} med uppvärmningen, men enligt vad "
            "leverantörerna tog emot var det {ledger:share}"
        ),
    ),
    "carries_users": (
        (
            "{made:count} users for {seconds:s} (asked: {wanted:count} for {whole:s}): p95 {p95~ms}, limit {limit:ms}; "
            "{failed~share} failed, limit {allowed:share}; n = {p95_n:count}"
        ),
        (
            "{made:count} användare i {seconds:s} (krav: {wanted:count} i {whole:s}): p95 {p95~ms}, gräns {limit:ms}; "
            "{failed~share} misslyckades, gräns {allowed:share}; n = {p95_n:count}"
        ),
    ),
    "carries_rate": (
        (
            "{made:per_s} for {seconds:s} (asked: {wanted:per_s} for {whole:s}): p95 {p95~ms}, limit {limit:ms}; "
            "{failed~share} failed, limit {allowed:share}; n = {p95_n:count}"
        ),
        (
            "{made:per_s} i {seconds:s} (krav: {wanted:per_s} i {whole:s}): p95 {p95~ms}, gräns {limit:ms}; "
            "{failed~share} misslyckades, gräns {allowed:share}; n = {p95_n:count}"
        ),
    ),
    "carries_spike": (
        (
            "0 to {made:count} users in {ramp:s}, {seconds:s} in all (asked: {wanted:count}, {whole:s} in all): "
            "p95 {p95~ms}, limit {limit:ms}; {failed~share} failed, limit {allowed:share}; n = {p95_n:count}"
        ),
        (
            "0 till {made:count} användare på {ramp:s}, {seconds:s} totalt (krav: {wanted:count}, {whole:s} totalt): "
            "p95 {p95~ms}, gräns {limit:ms}; {failed~share} misslyckades, gräns {allowed:share}; n = {p95_n:count}"
        ),
    ),
    "cost": (
        "a user costs {hour:number} {currency} an hour, by {n:count} requests",
        "en användare kostar {hour:number} {currency} i timmen, enligt {n:count} anrop",
    ),
    "cost_outage": (
        (
            "a user costs {hour:number} {currency} an hour ({healthy:number} healthy, {state_hour:number} under "
            "{state}), "
            "by {n:count} requests"
        ),
        (
            "en användare kostar {hour:number} {currency} i timmen ({healthy:number} friskt, {state_hour:number} under "
            "{state}), enligt {n:count} anrop"
        ),
    ),
    "cost_rate": (
        "1,000 requests cost {per_1k:number} {currency} (n = {n:count}); an open loop has no users",
        "1 000 anrop kostar {per_1k:number} {currency} (n = {n:count}); ett öppet lastflöde har inga användare",
    ),
    "cost_unpriced": (
        "a user costs at least {hour:number} {currency} an hour; no price for {unpriced}",
        "en användare kostar minst {hour:number} {currency} i timmen; pris saknas för {unpriced}",
    ),
    "agents": (
        (
            "{full} of {count} gave full answers under load; {share:share} of {n:count} requests to them were answered "
            "in full"
        ),
        (
            "{full} av {count} gav fullständiga svar under last; {share:share} av {n:count} anrop till dem fick "
            "fullständigt svar"
        ),
    ),
    "providers": ("answered under load: {who}", "svarade under last: {who}"),
    "providers_silent": (
        "answered under load: {who}; no answer names {silent}",
        "svarade under last: {who}; inget svar nämner {silent}",
    ),
    "providers_calm": (
        "answered under load: {who}; no answer names {silent} while nothing was broken",
        "svarade under last: {who}; inget svar nämner {silent} medan inget var trasigt",
    ),
    "metrics": (
        "the system's metrics claim {own:share} cache hits of {n:count} lookups; providers' ledgers say {ledger:share}",
        (
            "systemets mätvärden påstår {own:share} cacheträffar av {n:count} uppslag; leverantörernas liggare säger "
            "{ledger:share}"
        ),
    ),
    "metrics_alone": (
        "the system's metrics can be read, and nothing shows whether they are true (n = {n:count} lookups)",
        "systemets mätvärden kan läsas, men inget visar om de är sanna (n = {n:count} uppslag)",
    ),
    "trace": (
        (
            "{share~share} of {n:count} full answers that name a provider were found in a ledger, by the trace id "
            "of their request; logs are not seen"
        ),
        (
            "{share~share} av {n:count} fullständiga svar som nämner en leverantör återfanns i en liggare, via "
            "anropets spårnings-id; loggar syns inte"
        ),
    ),
    "tenants": (
        (
            "{wrong} of {n:count} provider calls carried another tenant than their request (at most {most:share}, "
            "limit {limit:share}); {faulted:count} of the {n:count} were made while a fault was on; what is cached or "
            "stored is not seen"
        ),
        (
            "{wrong} av {n:count} leverantörsanrop bar en annan hyresgäst än sin begäran (högst {most:share}, gräns "
            "{limit:share}); {faulted:count} av de {n:count} gjordes under ett fel; vad som cachas eller lagras syns "
            "inte"
        ),
    ),
    "baselines": (
        (
            "what to set them by was measured (healthy p95 {p95~ms}, {failed:share} failed); agentstorm export writes "
            "rules and a dashboard from it; whether they are in place is not seen"
        ),
        (
            "underlaget är mätt (frisk p95 {p95~ms}, {failed:share} misslyckades); agentstorm export skriver "
            "regler och "
            "instrumentpanel av det; om de är på plats syns inte"
        ),
    ),
    "failover": (
        (
            "{upstream} {kind}: {good} of {n} recovered under {limit:s} (median {median:s}, longest {worst:s}), which "
            "supports at least {least:supported} of such outages at 95 % confidence; asked: {share:share}; kinds "
            "of outage: {kinds}, the worst decides"
        ),
        (
            "{upstream} {kind}: {good} av {n} återhämtade sig inom {limit:s} (median {median:s}, längst "
            "{worst:s}), vilket "
            "styrker minst {least:supported} av sådana avbrott med 95 % konfidens; krav: {share:share}; slag av "
            "avbrott: {kinds}, det värsta avgör"
        ),
    ),
    "breakers": (
        (
            "breakers opened in {opened} of {of} outages of providers and the provider was back after {back} of {n} "
            "(median {median:s}, longest {worst:s} after clearing; {flaps} flaps); supports at least {least:supported} "
            "at 95 % confidence"
        ),
        (
            "brytare öppnade i {opened} av {of} leverantörsavbrott och leverantören var tillbaka efter "
            "{back} av {n} "
            "(median {median:s}, längst {worst:s} efter åtgärd; {flaps} fladder); styrker minst {least:supported} med "
            "95 % konfidens"
        ),
    ),
    "breakers_none": (
        "no breaker was seen to open in {n} outages",
        "ingen brytare sågs öppna i {n} avbrott",
    ),
    "functionality": (
        (
            "without any provider {share~share} of {n:count} requests were answered ({ok_share:share} in full, "
            "{degraded_share:share} degraded, {failed_share:share} failed) in {outages} outages; limit {limit:share}"
        ),
        (
            "utan någon leverantör besvarades {share~share} av {n:count} anrop ({ok_share:share} fullständigt, "
            "{degraded_share:share} förenklat, {failed_share:share} misslyckades) i {outages} avbrott; gräns "
            "{limit:share}"
        ),
    ),
    "health": (
        (
            "the page noticed {good} of {n} outages within {limit:s}, and said that all was well for {false_ok:s} "
            "while something was broken[; false alarms: {alarms}] ({looks:count} looks)"
        ),
        (
            "sidan märkte {good} av {n} avbrott inom {limit:s}, och sade att allt var bra i {false_ok:s} medan något "
            "var trasigt[; falsklarm: {alarms}] ({looks:count} avläsningar)"
        ),
    ),
    "health_alarms": (
        "nothing was broken while the page was read; its false alarms: {alarms} ({looks:count} looks)",
        "inget var trasigt medan sidan lästes; dess falsklarm: {alarms} ({looks:count} avläsningar)",
    ),
    "health_calm": (
        "nothing was broken while the page was read, and it raised no false alarm ({looks:count} looks)",
        "inget var trasigt medan sidan lästes, och den gav inget falsklarm ({looks:count} avläsningar)",
    ),
    "health_there": (
        "the page was read {n:count} times, every {gap:s}",
        "sidan lästes {n:count} gånger, var {gap:s}",
    ),
    "restart": (
        (
            "{failed} of {n:count} requests failed ({share~share}, limit {limit:share}) during {outages} "
            "rolling restarts "
            "of {replicas} replicas; {unavailable:s} of bad service"
        ),
        (
            "{failed} av {n:count} anrop misslyckades ({share~share}, gräns {limit:share}) under {outages} rullande "
            "omstarter av {replicas} repliker; {unavailable:s} dålig tjänst"
        ),
    ),
    "disaster": (
        (
            "service was back after at most {worst:s} (median {median:s}) in {n} losses of a service or of all "
            "providers, "
            "{never} did not come back while watched; RTO asked: {limit:s}; data lost (RPO) and restoring are not seen"
        ),
        (
            "tjänsten var tillbaka efter högst {worst:s} (median {median:s}) vid {n} bortfall av en tjänst eller alla "
            "leverantörer, {never} kom inte tillbaka medan det mättes; krav på RTO: {limit:s}; dataförlust (RPO) och "
            "återläsning syns inte"
        ),
    ),
    "availability": (
        "{failed~share} of requests failed while nothing was broken; {limit:share} leaves {budget:s} a month",
        "{failed~share} av anropen misslyckades medan inget var trasigt; {limit:share} lämnar {budget:s} i månaden",
    ),
    "availability_outage": (
        (
            "{failed~share} of requests failed while nothing was broken; one outage of the worst kind "
            "({upstream} {kind}, "
            "mean of {outages}) means {unavailable:s} of bad service, {share:share} of the {budget:s} that "
            "{limit:share} "
            "leaves a month"
        ),
        (
            "{failed~share} av anropen misslyckades medan inget var trasigt; ett avbrott av värsta slag ({upstream} "
            "{kind}, medel av {outages}) ger {unavailable:s} dålig tjänst, {share:share} av de {budget:s} som "
            "{limit:share} lämnar i månaden"
        ),
    ),
    "chaos": (
        "{bit} of {n} faults were seen to bite under load (different kinds: {kinds}), {cleared} verified cleared",
        "{bit} av {n} fel sågs göra verkan under last (olika slag: {kinds}), {cleared} verifierat borttagna",
    ),
    "capacity": (
        (
            "{rate~per_s} at SLO in state {state:state}; users at least {users_low:count}; first at its limit: "
            "{first:resource}; {levels} levels, {states} states"
        ),
        (
            "{rate~per_s} vid SLO i läget {state:state}; användare minst {users_low:count}; först vid sin gräns: "
            "{first:resource}; {levels} nivåer, {states} lägen"
        ),
    ),
    "capacity_below": (
        "not even the lowest of {levels} levels is shown to meet the SLO in state {state:state}",
        "inte ens den lägsta av {levels} nivåer har visats klara SLO i läget {state:state}",
    ),
    "capacity_open": (
        "no level is shown to miss the SLO: at least {rate_low:per_s} at SLO in state {state:state} ({levels} levels)",
        "ingen nivå har visats missa SLO: minst {rate_low:per_s} vid SLO i läget {state:state} ({levels} nivåer)",
    ),
    "capacity_undecided": (
        "no level shows whether the SLO is met in state {state:state} ({levels} levels)",
        "ingen nivå visar om SLO klaras i läget {state:state} ({levels} nivåer)",
    ),
    "scaling": (
        "scale out at {rate:per_s} per replica (governed by {state:state}); whether anything scales by it is not seen",
        "skala ut vid {rate:per_s} per replik (styrs av {state:state}); om något skalar efter det syns inte",
    ),
    "scaling_cpu": (
        (
            "scale out at {rate:per_s} per replica or {cpu:share} CPU of {who} (governed by {state:state}); whether "
            "anything scales by it is not seen"
        ),
        (
            "skala ut vid {rate:per_s} per replik eller {cpu:share} CPU för {who} (styrs av {state:state}); om något "
            "skalar efter det syns inte"
        ),
    ),
    "pool": (
        "{resource:resource} was used up at {rate:per_s} ({levels} levels)",
        "{resource:resource} tog slut vid {rate:per_s} ({levels} nivåer)",
    ),
    "pool_none": (
        (
            "no pool was used up before the SLO was missed, with up to {in_flight:count} requests in flight ({levels} "
            "levels)"
        ),
        "ingen pool tog slut innan SLO missades, med upp till {in_flight:count} samtidiga anrop ({levels} nivåer)",
    ),
    "pool_open": (
        (
            "no pool was used up with up to {in_flight:count} requests in flight, but at which load the SLO is missed "
            "is not known"
        ),
        "ingen pool tog slut med upp till {in_flight:count} samtidiga anrop, men när SLO missas är inte känt",
    ),
    "pool_unseen": (
        "no pool was seen to be used up, but no ledger shows the calls under way at a provider, where it would show",
        "ingen pool sågs ta slut, men ingen liggare visar pågående anrop hos en leverantör, där det skulle synas",
    ),
    "pool_hidden": (
        "no pool was seen to be used up, but {resource:resource} was, at {rate:per_s}: it would hide one",
        "ingen pool sågs ta slut, men det gjorde {resource:resource}, vid {rate:per_s}: det skulle dölja en",
    ),
    "soak_flat": (
        "nothing leaked, or drifted for the worse, in {seconds:s} ({tested} series)",
        "inget läckte, eller drev åt fel håll, på {seconds:s} ({tested} serier)",
    ),
    "soak_moved": (
        "{what:series}[ of {who}] moved in {seconds:s} ({tested} series)",
        "{what:series}[ för {who}] rörde sig på {seconds:s} ({tested} serier)",
    ),
    "soak_open": (
        "{seconds:s} cannot tell ({tested} series): {why}",
        "{seconds:s} räcker inte för ett svar ({tested} serier)",
    ),
    "together": (
        (
            "{done} of {n} loads were made at full length, {passed} passed[; failed: {failed}][; not at full length: "
            "{missing}]"
        ),
        (
            "{done} av {n} laster gjordes i full längd, {passed} godkända[; underkända: {failed}][; inte i full längd: "
            "{missing}]"
        ),
    ),
}
NOTES: Mapping[str, tuple[str, str]] = {
    "scaled": ("the run was scaled: nothing about full length", "körningen var skalad: inget om full längd"),
    "short": ("less than was asked for", "mindre än vad som krävdes"),
    "beyond": ("under more than was asked for, which refutes nothing", "under mer än vad som krävdes: motsäger inget"),
    "invalid": ("the run is invalid and decides nothing", "körningen är ogiltig och avgör inget"),
}  # fmt: skip
