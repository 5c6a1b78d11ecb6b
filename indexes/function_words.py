"""Small words of each language: they say which language a question is in, and carry no meaning to search for."""

from __future__ import annotations

from collections.abc import Mapping


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FUNCTION_WORDS: Mapping[str, frozenset[str]] = {
    "en": _words(
        "a an and are as at be been but by can could did do does for from had has have he her his how i if in "
        "into is it its may me my no not of on or our shall she should so such than that the their them then "
        "there these they this those to was we were what when where which who whom whose why will with would "
        "you your am any about please"
    ),
    "de": _words(
        "aber als am an auch auf aus bei bin bis da damit dann das dass dem den der des die dies diese dieser "
        "doch durch ein eine einem einen einer eines er es für hat hatte haben ich ihr im in ist ja kann kein "
        "keine können man mein mit muss müssen nach nicht noch nur oder ob sein sich sie sind so über um und uns "
        "unter vom von vor war waren warum was wann welche welcher welches wenn wer werden wie wir wird wo "
        "wurde wurden zu zum zur"
    ),
    "fr": _words(
        "a ai au aux avec avez c ce ces cette comment dans de des du d elle en est et étaient était être eu il "
        "ils j je l la le les leur lui ma mais me mes moi mon n ne nos notre nous on ont ou où par pas peut "
        "plus pour pourquoi qu quand que quel quelle quelles quels qui quoi s sa se ses si son sont sur ta te "
        "tes ton tu un une vos votre vous y"
    ),
    "es": _words(
        "a al ante como con cuál cuáles cuando cuándo cuánto cuántos de del desde donde dónde el ella ellos en "
        "entre era eran es esta este esto está están fue fueron ha han hay la las le les lo los más me mi muy "
        "no nos o para pero por porque puede que qué quién quiénes se según ser si sin sobre son su sus también "
        "te tiene tienen un una unas uno unos y ya yo cómo"
    ),
    "it": _words(
        "a ai al alla alle anche che chi ci come con cosa da dal dalla dei del della delle di dove e è ed era "
        "erano gli ha hanno ho i il in io la le lo loro ma mi nei nel nella noi non o per perché più può qual "
        "quale quali quando quanto quanti se si sono su sua sue sugli sui sul sulla suo suoi tra tu un una uno"
    ),
    "pt": _words(
        "a ao aos as com como da das de do dos e é ela ele em entre era eram essa esse esta este eu foi foram "
        "há isso já lhe mais mas me meu muito na não nas no nos o onde os ou para pela pelas pelo pelos pode "
        "por porque quais qual quando quanto quantos que quem se sem ser seu seus são sobre sua suas também "
        "tem um uma você"
    ),
    "nl": _words(
        "aan al als bij dat de den der deze die dit door een en er had heb hebben heeft het hij hoe hun ik in is "
        "je kan kunnen maar meer met mijn moet na naar niet nog of om onder ons ook op over te tot u uit van "
        "veel voor waar waarom wanneer was waren wat we welke wie wij worden wordt zal ze zich zij zijn zo"
    ),
    "sv": _words(
        "att av de dem den denna det detta du där en ett från för ha hade han har hon hur här i inte jag kan "
        "man med men mig mot mycket när någon något och om på sig sin ska skulle som så till under ut vad "
        "var varför vem vi vid vilka vilken vilket vill är över"
    ),
    "da": _words(
        "af alle at blev blive da de dem den denne der det dette dig din du efter eller en end er et for fra "
        "han har havde hun hvad hvem hvilke hvilken hvor hvordan hvorfor hvornår i ikke ind jeg kan kunne man "
        "med meget men mig mod når og også om op over på sig skal som så til ud under var ved vi vil være"
    ),
    "no": _words(
        "alle at av ble bli da de dem den denne der det dette deg din du eller en enn er et etter for fra ha "
        "hadde han har hun hva hvem hvilke hvilken hvor hvordan hvorfor i ikke jeg kan kunne man med meg men "
        "mot mye når og også om opp over på seg skal som så til under ut var ved vi vil være"
    ),
    "fi": _words(
        "ei ja jos joka jonka jossa kanssa ketkä koska kuin kuinka kuka kun mikä miksi millainen milloin missä "
        "mitä mitkä me minä mutta myös ne niin nyt oli olivat on ovat paljon se sekä sen sinä tai tämä tässä "
        "voi että"
    ),
    "hu": _words(
        "a az azt be csak de egy el ez ezt hány hogy hogyan hol is ki kell lehet meg melyik mennyi mert mi miért "
        "mikor mit mint ne nem s van vagy volt és"
    ),
    "ro": _words(
        "a ai al ale am are au ca care când câte cât ce cel cine cu cum de din după e ea el este eu fi fost în "
        "la le lui mai mi nu o pe pentru prin sau se si și sunt un una unde unei unui unor"
    ),
    "tr": _words(
        "bir bu da daha de değil en gibi hangi her ile için ise kaç ki kim mı mi mu mü nasıl ne neden nedir "
        "nerede niçin o olan olarak şu ve veya ya"
    ),
    "pl": _words(
        "a aby ale by był była było były ci co czy dla do gdzie i ich ile jak jaka jaki jakie jako jego jej jest "
        "już kiedy kto które która który lub ma mi na nad nie o od oraz po pod przez przy się są ten to tym tylko "
        "w we więc z za ze że"
    ),
    "ru": _words(
        "а без был была были было в вам вас во вот все вы где да для до его ее если есть еще же за и из или им их "
        "к как какая какие какой ко когда кто ли мы на над не него нее нет них но о об он она они оно от по под "
        "при с со сколько так такой там то тот ты у уже чем что чтобы эта эти это этот я"
    ),
    "el": _words(
        "αν από αυτά αυτή αυτό για δεν είναι ή η και με μας μια να ο οι όταν ότι πόσο πού ποια ποιες ποιο ποιος "
        "πώς σας σε στα στη στην στις στο στον τα τη την της τι τις το τον του τους των ως"
    ),
    "ar": _words(
        "أن أو أي إلى إن التي الذي الذين أين بعد بين ثم حتى ذلك على عن عند في قد كان كانت كل كم كيف لا لم لماذا "
        "ما ماذا متى مع من هذا هذه هل هو هي و يكون"
    ),
}
"""By ISO 639-1 code; lower case, as written. Lists are short on purpose: a rare small word does no harm."""
