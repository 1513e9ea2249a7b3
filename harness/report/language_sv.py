"""The executive page in Swedish: the audit's readers are."""

from __future__ import annotations

from harness.model.verdict import Verdict
from harness.report.language import Advised, Language, Phrases, swedish

PHRASES = Phrases(
    headlines={
        Verdict.PASS: "Godkänt", Verdict.FAIL: "Underkänt", Verdict.INCONCLUSIVE: "Otillräckligt underlag",
        Verdict.INVALID: "Ogiltigt",
    },
    severities=("upplysning", "bevaka", "skada", "stopp"),
    capacity="Hur många användare?",
    cost="Till vilken kostnad?",
    sla="Vad kan vi lova?",
    soak="Håller det i längden?",
    risks="Risker, värst först",
    recommendations="Att göra",
    not_measured="Mättes inte.",
    no_figures="En ogiltig körning styrker inga siffror.",
    measured_by="Så mäts det:",
    no_risks="Inga sågs.",
    no_advice="Ingenting: inget skäl att ändra något hittades.",
    more_advice=("1 mindre viktig är utelämnad.", "{n} mindre viktiga är utelämnade."),
    evidence="underlag",
    evidence_in="underlag i {run}",
    measured_in="mätt i {run}",
    runs="Vad kördes?",
    overview=("1 körning av {target}", "{n} körningar av {target}"),
    unanimous=("Körningen är godkänd.", "Alla {n} körningar är godkända."),
    together={
        Verdict.FAIL: ("1 av {all} körningar är underkänd", "{n} av {all} körningar är underkända"),
        Verdict.INVALID: ("1 går inte att bedöma", "{n} går inte att bedöma"),
        Verdict.INCONCLUSIVE: ("1 har otillräckligt underlag", "{n} har otillräckligt underlag"),
        Verdict.PASS: ("1 är godkänd", "{n} är godkända"),
    },
    columns=("körning", "last", "när", "anrop", "p95", "fel", "varför"),
    verify="kontrollera med",
    verify_all="Kontrollera med samma körning igen:",
    contents="Innehåll",
    target="system",
    version="version",
    images="containeravbilder",
    load="last",
    faults="fel",
    ran="kördes",
    ran_for="under",
    during="i läget {state}",
    scale="skala",
    scale_note="{scale}: säger inget om full längd",
    none="inga",
    carried="Körningen hade {load}.",
    carried_at="Körningen hade {load}, {rate}.",
    at_least="minst",
    below="under",
    undecided="ej avgjort",
    requests_per_s="anrop/s",
    or_less="{value} eller mindre",
    users="användare",
    per_1k="per 1\u00a0000 anrop",
    per_user_hour="per användare och timme",
    healthy="allt friskt",
    in_outage="när {outage}",
    cache_saves="cachen sparar",
    no_prices="Målsystemet anger inga priser.",
    no_ledgers="Ingen liggare visar vem anropen gjordes för.",
    of_all="{n} av {all}",
    recovered="avhjälpta inom {limit}",
    claim="styrker ≥ {share} av avbrotten, med {confidence} säkerhet",
    claim_nothing="styrker inget löfte än",
    claim_next="{more} till i rad för {next}",
    soak_verdicts={
        "leak": "Läcka", "drift": "Glidning", "flat": "Stabilt", "saturating": "Stabilt",
        "inconclusive": "För kort för att avgöra",
    },
    points="procentenheter",
    to_limit="når gränsen om {left}",
    soak_length="under {length}",
    factor="{n} gånger",
)  # fmt: skip

ADVICE = {
    "generator_cpu": Advised(
        "Inget i körningen kan bedömas: lastgeneratorn var flaskhalsen.",
        "Ge lastgeneratorn {workers} arbetsprocesser",
        "Den använde {seen} av en kärna i tio sekunder; över {limit} räknas dess egna väntetider som systemets.",
    ),
    "generator_lag": Advised(
        "Inget i körningen kan bedömas: lastgeneratorn hann inte med.",
        "Ta bort arbete ur lastfilen, eller kör på en mindre belastad maskin",
        "Generatorns egen slinga låg {seen} efter (p99); gränsen är {limit}.",
    ),
    "generator_lateness": Advised(
        "Inget i körningen kan bedömas: anropen skickades för sent.",
        "Sänk takten, eller ge lastgeneratorn {workers} arbetsprocesser",
        "Anropen skickades {seen} efter utsatt tid (p99); gränsen är {limit}.",
    ),
    "invalid": Advised(
        "Inget i körningen kan bedömas.",
        "Åtgärda det som gjorde körningen ogiltig och kör om den",
        "Sammanlagt {reasons}. Det första (på engelska): {reason}.",
    ),
    "never_recovered": Advised(
        "När {outage} kommer tjänsten inte tillbaka: {never} av {all}.",
        "Ta reda på vad som håller tjänsten nere när {outage}",
        "I {never} av {all} var den inte bra igen inom de {watched} som den följdes; inget får bli kvar.",
    ),
    "recovery_hang": Advised(
        "När {outage} saknar användarna god service i upp till {worst}; SLA:n är {limit}.",
        "Avbryt anrop till {upstream} efter mindre än {timeout}, omförsök inräknade",
        "Återhämtningen tog upp till {worst} (längsta stopp {stall}), {late} av {all} över {limit}; "
        "när anropen väl avbryts ryms resten inom SLA:n.",
    ),
    "recovery_error": Advised(
        "När {outage} saknar användarna god service i upp till {worst}; SLA:n är {limit}.",
        "Växla över från {upstream} vid de första felen: öppna brytaren tidigare, utan omförsök",
        "Återhämtningen tog upp till {worst} (längsta stopp {stall}), {late} av {all} över {limit}.",
    ),
    "recovery_part": Advised(
        "När {outage} saknar användarna god service i upp till {worst}; SLA:n är {limit}.",
        "Ge {upstream} en kopia till, eller låt systemet klara sig utan",
        "Återhämtningen tog upp till {worst} (längsta stopp {stall}), {late} av {all} över {limit}.",
    ),
    "failed_times": Advised(
        "Användarna väntar {observed} ({statistic}), längre än de {limit} som utlovats.",
        "Gör svaren snabbare, eller minska lasten, för att klara {check}",
        "Uppmätt {observed}, gräns {limit}; ingen agent är säkert långsammare än de andra.",
    ),
    "failed_times_agent": Advised(
        "Användarna väntar {observed} ({statistic}), längre än de {limit} som utlovats.",
        "Gör {agent} snabbare först för att klara {check}",
        "Uppmätt {observed}, gräns {limit}. {agent} är långsammast, med p95 på {agent_p95}.",
    ),
    "failed_times_outage": Advised(
        "Vid avbrott väntar användarna {observed} ({statistic}), längre än de {limit} som utlovats.",
        "Korta väntetiden medan något är trasigt för att klara {check}",
        "Uppmätt {observed}, gräns {limit}; före felen var {statistic} {healthy}.",
    ),
    "failed_share": Advised(
        "För många anrop går fel: {observed}, där {limit} utlovats.",
        "Ta reda på vilka fel som ligger bakom {check}",
        "Uppmätt {observed}, gräns {limit}, av {n}.",
    ),
    "failed_share_full": Advised(
        "För få anrop får ett fullständigt svar: {observed}, där {limit} utlovats.",
        "Ta reda på vad som hindrar fullständiga svar, för att klara {check}",
        "Uppmätt {observed}, gräns {limit}, av {n}.",
    ),
    "not_steady_again": Advised(
        "Efter det sista felet gäller inte längre {check}.",
        "Ta reda på vad felen lämnar efter sig, så att {check} gäller igen",
        "Uppmätt {observed} under körningens sista sekunder; gräns {limit}.",
    ),
    "capacity_below": Advised(
        "Redan {rate} är för mycket ({state}).",
        "Ta reda på vad som är långsamt vid lägsta last",
        "{state}: målet missades vid {rate}, och ingen lägre nivå har visats hålla det.",
    ),
    "unanswered": Advised(
        "När {outage} får {failed} av anropen inget svar.",
        "Svara ur cachen eller med regler när {outage}",
        "{failed} av {requests} under tiden misslyckades; målet tillåter {limit}.",
    ),
    "breaker_silent": Advised(
        "När {outage} löser ingen brytare ut: varje anrop får vänta.",
        "Sänk brytarens tröskel för {upstream}",
        "Den förblev stängd i {all}, medan {harmed} misslyckades eller var långsamma (längsta stopp {stall}).",
    ),
    "health_false_ok": Advised(
        "Hälsosidan säger att allt är bra när {outage}.",
        "Låt hälsosidan titta på det den är beroende av",
        "Den upptäckte {late} av {all} senare än {limit}, eller inte alls; med en del trasig sade den OK i {false_ok}.",
    ),
    "saturated_cpu": Advised(
        "{owner} har nått sin CPU-gräns.",
        "Skala ut {owner} innan den använder {limit} av sin CPU",
        "Den använde {share} (p95) vid {rate}; över {limit} bildas kö.",
    ),
    "saturated_throttled": Advised(
        "{owner} hålls tillbaka av sin CPU-gräns.",
        "Höj CPU-gränsen för {owner}, eller skala ut",
        "Den ströps i {share} av perioderna (p95) vid {rate}; gränsen är {limit}.",
    ),
    "saturated_memory": Advised(
        "{owner} har snart slut på minne.",
        "Höj minnesgränsen för {owner}, eller ta reda på vad som fyller minnet",
        "Den använde som mest {share} av det, vid {rate}; gränsen är {limit}. Nästa steg är att den avslutas.",
    ),
    "leak_limit": Advised(
        "{owner} läcker ({what}): gränsen nås om {left}.",
        "Hitta läckan i {owner} ({what}); starta om oftare än var {left} så länge",
        "Det växer med {slope}; upp till {limit} är ofarligt.",
    ),
    "leak": Advised(
        "{owner} läcker ({what}).",
        "Hitta läckan i {owner} ({what})",
        "Det växer med {slope}; upp till {limit} är ofarligt.",
    ),
    "drift": Advised(
        "Det blir sämre för varje timme: {what}.",
        "Ta reda på varför det glider: {what}, {owner}",
        "Det ändras med {slope}; upp till {limit} är ofarligt.",
    ),
    "restarted": Advised(
        "{owner} startar om av sig själv.",
        "Läs vad {owner} sist skrev i inspelningens logs/",
        "Den startades om {restarts} utan att planen gör det; det får inte ske.",
    ),
    "degraded": Advised(
        "När {outage} får {degraded} av anropen bara det regelbaserade svaret.",
        "Lägg till en leverantör bakom dem som faller bort när {outage}",
        "{degraded} av {requests} besvarades bara med regler; högst {limit} är utlovat.",
    ),
    "budget": Advised(
        "Ett enda avbrott, när {outage}, kostar {spent} av en månads felbudget.",
        "Korta det som ett avbrott kostar när {outage}, eller lova mindre",
        "Vart och ett tog {unavailable} av god service: {spent} av det som {availability} lämnar per månad; "
        "gränsen är {limit}.",
    ),
    "retries": Advised(
        "När {outage} blir omförsöken en last i sig: {ratio} så många leverantörsanrop.",
        "Begränsa omförsöken (en gemensam budget, inte ett antal per anrop) när {outage}",
        "Ett svar krävde {during} leverantörsanrop i stället för {healthy}: {ratio}; gränsen är {limit}.",
    ),
    "price": Advised(
        "När {outage} kostar anropen {ratio} så mycket.",
        "Avsätt pengar för avbrott, eller växla till en billigare modell när {outage}",
        "1\u00a0000 anrop kostade {during} i stället för {healthy}: {ratio}; gränsen är {limit}.",
    ),
    "flapping": Advised(
        "Trafiken pendlar till och från {upstream} efter ett avbrott.",
        "Kräv fler lyckade anrop i halvöppet läge innan brytaren för {upstream} stängs",
        "Leverantören byttes {flaps} gånger mer i {all} än växling dit och tillbaka kräver; inget extra byte behövs.",
    ),
    "no_failback": Advised(
        "Trafiken kommer inte tillbaka till {upstream} när den är frisk igen.",
        "Låt brytaren för {upstream} försöka igen: korta dess återhämtningstid",
        "Efter {never} av {all} bar den inte sin andel igen så länge den följdes; det får inte hända.",
    ),
    "breaker_false_alarm": Advised(
        "Brytare löser ut utan orsak.",
        "Höj brytarnas tröskel, eller räkna över längre tid",
        "Brytare löste ut {all}, {false} av dem utan att något var trasigt; det får inte ske.",
    ),
    "health_false_alarm": Advised(
        "Hälsosidan larmar utan orsak.",
        "Låt hälsosidan vänta på en andra dålig avläsning",
        "Den larmade {alarms}, sammanlagt {lasted}, utan att något var trasigt; det får inte ske.",
    ),
    "cache_low": Advised(
        "Cachen träffar för sällan: varje miss kostar.",
        "Höj cachens träffandel, först för {worst}",
        "{hits} av {n} träffade; gränsen är {limit}. Lägst: {worst}, {worst_hits}.",
    ),
    "cache_disagree": Advised(
        "Ingen vet hur väl cachen fungerar.",
        "Rätta räkningen av cacheträffar innan den används i beslut",
        "Vittnena säger {low} till {high}; de får skilja sig {limit} procentenheter.",
    ),
    "capacity_limit": Advised(
        "{resource} tar slut först ({state}).",
        "Skala ut vid {rate} per replik",
        "{state}: {resource} når {full} av det den får använda vid {full_rate}.",
    ),
    "capacity_limit_would": Advised(
        "{resource} skulle ta slut först ({state}).",
        "Skala ut vid {rate} per replik",
        "{state}: inget som följdes tog slut; i en rät linje skulle {resource} nå sin gräns vid {full_rate}.",
    ),
    "capacity_throttled": Advised(
        "{owner} hålls först tillbaka av sin CPU-gräns ({state}).",
        "Höj CPU-gränsen för {owner}, eller skala ut vid {rate} per replik",
        "{state}: {owner} stryps i {full} av perioderna vid {full_rate}.",
    ),
    "capacity_machine": Advised(
        "Maskinen tar slut först ({state}).",
        "Ge systemet fler kärnor: repliker på samma maskin delar på dem som finns",
        "{state}: {full} av alla kärnor används vid {full_rate}.",
    ),
    "capacity_machine_would": Advised(
        "Maskinen skulle ta slut först ({state}).",
        "Ge systemet fler kärnor innan lasten växer: repliker på samma maskin delar på dem som finns",
        "{state}: inget som följdes tog slut; i en rät linje skulle dess kärnor nå sin gräns vid {full_rate}.",
    ),
    "capacity_pool": Advised(
        "Anslutningarna till {owner} tar slut först ({state}).",
        "Tillåt fler anslutningar till {owner}, eller skala ut vid {rate} per replik",
        "{state}: alla är upptagna vid {full_rate}.",
    ),
    "capacity_rate_limit": Advised(
        "Anropsgränsen hos {owner} nås först ({state}).",
        "Höj anropsgränsen hos {owner}, eller anropa den mindre: fler repliker hjälper inte",
        "{state}: {owner} avvisar {full} av anropen vid {full_rate}.",
    ),
    "undecided": Advised(
        "",
        "Kör {factor} så länge ({length}) för att avgöra {check}",
        "Uppmätt {observed}, men även {side} är möjligt, på andra sidan gränsen {limit}.",
    ),
    "at_limit": Advised(
        "{check} ligger vid sin gräns: vilken dag som helst kan hamna på fel sida.",
        "Skaffa marginal till gränsen för {check}, eller ändra den",
        "Uppmätt {observed}, gräns {limit} ({side} är möjligt); ingen rimligt lång körning skulle avgöra det.",
    ),
    "too_few": Advised(
        "",
        "Kör {factor} så länge ({length}) för att kunna bedöma {check}",
        "En {percent} kräver {needed}; det fanns {n}.",
    ),
    "no_data": Advised(
        "",
        "Låt körningen mäta {check}, eller ta bort kravet",
        "Inget mättes för {checks}; utan data blir inget godkänt.",
    ),
    "claim": Advised(
        "",
        "Prova {more} avbrott till där {outage} innan {wanted} utlovas",
        "{all} av {all} i tid styrker {share} med {confidence} säkerhet.",
    ),
    "soak_short": Advised(
        "",
        "Kör uthållighetsprovet i {needed} för att veta om något glider",
        "{length} var för kort för att avgöra det.",
    ),
    "capacity_beyond": Advised(
        "",
        "Prova mer än {rate} för att finna kapaciteten ({state})",
        "{state}: målet hölls vid {rate}, den högsta last som provades.",
    ),
    "capacity_untold": Advised(
        "",
        "Upprepa nivåerna över {rate}, längre eller med en lastgenerator som hinner med, för att finna kapaciteten "
        "({state})",
        "{state}: målet hölls vid {rate}; {levels} däröver gav inget besked.",
    ),
    "shortened": Advised(
        "",
        "Kör i full längd innan resultatet används i beslut",
        "Körningen kortades till {scale} av sin längd: {length} i stället för {full}.",
    ),
    "unpriced": Advised(
        "",
        "Lägg till priser för {models}",
        "{calls} räknas som gratis.",
    ),
}  # fmt: skip

KINDS = {
    "blackhole": "hänger sig", "refuse": "nekar anslutningar", "reset": "bryter anslutningar", "slow": "är långsam",
    "jitter": "svarar ojämnt", "bandwidth": "har för smal förbindelse", "sliced": "svarar droppvis",
    "cut": "kapar anslutningar", "slow_close": "stänger anslutningar sent", "rate_limited": "svarar 429",
    "quota": "har nått sin kvot", "http_error": "svarar med fel", "unauthorized": "avvisar vår nyckel",
    "garbage": "svarar med skräp", "empty": "svarar tomt", "wrong_content_type": "svarar med fel innehållstyp",
    "slow_first_token": "är sen att börja svara", "stream_stall": "stannar mitt i svaret",
    "stream_cut": "kapar svaren på mitten", "flapping": "kommer och går", "brownout": "går på halvfart",
    "kill": "slås ut", "stop": "stoppas", "pause": "fryser", "restart": "startar om", "cpu": "har ont om CPU",
    "memory": "har ont om minne",
}  # fmt: skip

SWEDISH = Language(
    code="sv",
    phrases=PHRASES,
    advice=ADVICE,
    kinds=KINDS,
    states={
        "healthy": "allt friskt", "primary_down": "huvudleverantören borta", "cache_cold": "kall cache",
        "one_replica_lost": "en replik borta",
    },
    limits={
        "cpu": "CPU:n i {owner}", "throttled": "CPU-tiden för {owner}", "memory": "minnet i {owner}",
        "rate_limit": "anropsgränsen hos {owner}", "pool": "anslutningarna till {owner}",
        "generator": "CPU:n i {owner}", "stand_in": "CPU:n i {owner}",
    },
    series={
        "memory": "minne", "fds": "öppna filer", "threads": "trådar", "connections": "anslutningar",
        "response_p50": "median för svarstiden", "response_p95": "p95 för svarstiden", "failed": "andelen fel",
        "cache_hit": "cachens träffandel", "provider_calls": "leverantörsanrop per svar",
    },
    nouns={
        "outages": ("avbrott", "avbrott"), "requests": ("anrop", "anrop"), "calls": ("anrop", "anrop"),
        "lookups": ("uppslag", "uppslag"), "times": ("gång", "gånger"), "checks": ("krav", "krav"),
        "reasons": ("skäl", "skäl"), "users": ("användare", "användare"), "steps": ("steg", "steg"),
        "levels": ("nivå", "nivåer"),
    },
    localise=swedish,
)  # fmt: skip
