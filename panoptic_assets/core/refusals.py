"""What language models write in place of a name: refusals, thoughts, words for "unknown".

Belongs here: telling them from names, in English, French, German, Spanish, Italian, Portuguese,
Dutch, and by their commonest forms in other languages of Europe and in Chinese and Japanese, which
some models fall back to. Does not belong here: where in an answer the name is (``vision_labels``).

A group of images may be called anything, so a phrase counts only where no name has it: an apology
with what follows it in a refusal, "I can't" with a service that is declined. "Sorry notes", "soldat
inconnu" and "I can't believe it's not butter ads" are names.
"""

import re
import unicodedata

_LOOKED_AT = 1000
"""Characters: a refusal says so at its beginning."""

_APOSTROPHES = str.maketrans(dict.fromkeys("‘’‛ʼʹ′`´", "'"))
_PAUSE = re.compile(r"[.,;:!?…–—。、·]+|\s-+\s")
_OTHER = re.compile(r"[^\w', ]|_")

# All patterns are in the form that _folded gives: lower case, without accents, each pause a comma.
_BUT = r"(?:but|mais|aber|pero|ma|mas|maar|ale|men|но)"

_WHOLE_APOLOGIES = (
    r"(?:i'?m|i am|we'?re|we are) (?:\w+ )?sorry",
    r"(?:my|our) (?:\w+ )?apologies|(?:i|we) (?:\w+ly )?apologi[sz]e",
    r"(?:je suis|nous sommes) (?:\w+ )?(?:desole|navre)e?s?|toutes mes excuses|mes excuses",
    r"je (?:vous prie de m'excuser|m'excuse|regrette)|veuillez m'excuser",
    r"(?:es )?tut (?:mir|uns) (?:\w+ )?leid|ich (?:bedau[e]?re|entschuldige mich)",
    r"lo (?:siento|lamento)(?: mucho)?|(?:te|le|les) pido disculpas",
    r"mi (?:dispiace|spiace|scuso)(?: molto)?",
    r"(?:eu )?(?:sinto|lamento) muito|peco desculpas?",
    r"het spijt (?:me|mij|ons)(?: zeer| erg)?",
    r"(?:bardzo )?(?:mi )?przykro(?: mi)?|przepraszam",
    r"jag (?:ar ledsen|beklagar|ber om ursakt)|(?:jeg )?beklager|det beklager jeg",
    r"(?:мне |нам )?(?:очень )?жаль|(?:я )?(?:очень )?сожалею|извините|приношу извинения",
    r"omlouvam se|je mi lito|sajnalom|imi pare rau|ho sento|olen pahoillani|λυπαμαι|ζητω συγγνωμη",
)
"""Whole sentences: they count at the end and before any pause."""
_SHORT_APOLOGIES = r"(?:so |very )?sorry|(?:vraiment )?(?:desole|navre)e?s?"
_COURTESIES = (
    r"pardon|excuse me|excusez moi|entschuldigung|verzeihung|disculp[ae]n?|perdon|scusa(?:mi|te)?"
    r"|desculpe?a?|excuses|forlat|undskyld|unnskyld|anteeksi|συγγνωμη|простите|prominte"
)
"""Words that names have as well: they count before a "but" alone."""

_ENGLISH = (
    r"(?:assist|identify|provide|comply|fulfill?|answer|describe|name|label|recogni[sz]e|determine"
    r"|process|analy[sz]e|view|access|engage|respond|categori[sz]e|classify|generate|participate"
    r"|speculate|comment|continue with|do (?:that|this)(?:$|,)|tell (?:what|who|which)"
    r"|help(?:$|,| (?:you|with|identify|name))"
    r"|see (?:the|any|these|this|those|an|your) (?:image|picture|photo|attach)"
    r"|make (?:a|any) (?:identification|determination|assumption|judg))"
)
_FRENCH = (
    r"(?:aider|assister|identifier|repondre|fournir|decrire|nommer|determiner|reconnaitre|traiter"
    r"|analyser|acceder|satisfaire|commenter|attribuer|etiqueter|prononcer|visualiser|examiner"
    r"|interpreter|participer|proposer|generer|voir (?:les?|la|l'|cette|ces|d')|dire (?:qui|ce)"
    r"|donner (?:suite|de|un|le|la|l')|faire (?:cela|ca|ceci))"
)
_GERMAN = (
    r"(?:(?:weiter)?helfen|behilflich|identifizieren|beantworten|erkennen|beschreiben|benennen"
    r"|nennen|bestimmen|bereitstellen|verarbeiten|unterstutzen|analysieren|nachkommen|erfullen"
    r"|zuordnen|anzeigen|ansehen|sehen|sagen|geben|dienen|zugreifen|kommentieren)"
)
_DUTCH = (
    r"(?:helpen|identificeren|beantwoorden|herkennen|beschrijven|benoemen|bepalen|verwerken|geven"
    r"|bieden|voldoen|analyseren|zien|zeggen)"
)
_SPANISH = (
    r"(?:ayudar|asisti|identific|proporcion|responder|describi|nombrar|determin|reconoc|procesar"
    r"|cumplir|analiz|acceder|etiquet|comentar|ofrecer|clasific|atender|hacer eso|ver (?:la|ning))"
)
_ITALIAN = (
    r"(?:aiut|assist|identific|forni|rispond|descriv|nominar|determin|riconosc|elabora|soddisf"
    r"|analizz|acceder|etichett|comment|classific|far(?:e questo|lo)|vedere (?:le|la|ness))"
)
_PORTUGUESE = (
    r"(?:ajud|assisti|identific|fornec|responder|descrev|nomear|determin|reconhec|process|cumpri"
    r"|analis|acess|rotul|coment|oferec|classific|atender|fazer isso|ver (?:as?|nenh))"
)
_SLAVIC = (
    r"(?:pomoc|zidentyfik|odpowiedz|opisac|nazwac|okreslic|rozpozna|przetworz|spelnic|udzielic"
    r"|помо|идентифи|определ|ответ|опис|назв|распозн|предостав|выполн|обработ"
    r"|identifik|odpovede|popsat|urcit|rozpozn)"
)
_NORDIC = (
    r"(?:hjalpa|hj[aæ]?lpe|hjelpe|identifi[ez]|beskriv|svara?\b|namnge|navngi|kanna igen|gjenkjen"
    r"|genkend|gora det|gi deg|give dig|ge dig)"
)

_REFUSALS = (
    # Those that name the service that is declined may stand anywhere: "For privacy reasons, I …".
    r"\b(?:i|we)(?:'?m| am|'?re| are|'?ll| will| must| have to)? (?:\w+ly |just |still |also )?"
    r"(?:can'?t|can ?not|could ?n[o']?t|couldn'?t|won'?t|will not|unable to|not able to|decline to"
    r"|refuse to|not (?:allowed|permitted|designed|programmed|going|here) to|not comfortable"
    r"|don'?t feel comfortable|do not feel comfortable)(?: be able to)?(?: \w+ly)* " + _ENGLISH,
    r"^(?:unable|not able|impossible) to " + _ENGLISH,
    r"^(?:can ?not|can'?t|could not) (?:be )?" + _ENGLISH,
    r"\bcan ?not be (?:identified|determined|named|labell?ed|described|processed)\b",
    r"\b(?:i|we) (?:don'?t|do not|didn'?t|did not) (?:see|receive|have) (?:any|an|the|enough"
    r"|sufficient|access|your) ?(?:images?|pictures?|photos?|ability|information|context|to\b)",
    r"\b(?:i|we) (?:don'?t|do not) know (?:what|who|how to) ?",
    r"^i (?:don'?t|do not) know$|^i'?m not sure$|^i am not sure$|^not sure$",
    r"\b(?:against|violat\w+) (?:my|our|openai'?s?|the (?:content|usage)) (?:\w+ )?(?:guidelines"
    r"|polic|programming|principles|terms)",
    r"^(?:(?:this|your|the) )?(?:request|content) (?:(?:has been|was|is) )?(?:denied|declined"
    r"|refused|rejected|blocked|filtered)$|^refusal$|^content policy violation$",
    r"\bno (?:images?|pictures?|photos?) (?:(?:were|was|are|is|have been|has been) )?(?:provided"
    r"|attached|uploaded|shared|supplied|received)\b",
    r"\bplease (?:provide|upload|share|attach|send) (?:me )?(?:(?:the|an?|more|some|your|clearer) "
    r")*(?:images?|pictures?|photos?|context|information|details)\b",
    r"^(?:unfortunately|regrettably),? (?:i|we|it|there|this|these|the|your|no)\b",
    r"\b(?:je|nous|on) ne (?:peux|puis|peut|pouvons|pourrai|pourrais|saurais|parviens|arrive)"
    r"(?: (?:\w+ment|donc|helas))? ?(?:pas )?(?:(?:pas|a|vous|te|les?|la|en|y|me)\b ?|[tlm]')*"
    + _FRENCH,
    r"\b(?:je|nous) ne (?:suis|sommes) (?:\w+ment )?(?:pas (?:\w+ment )?(?:en mesure|capable"
    r"|autorise|a l'aise|en capacite|programme|habilite)|qu'une? )",
    r"\bje n'ai (?:\w+ment )?(?:pas|aucune?) (?:acces|la possibilite|la capacite|recu|assez"
    r"|suffisamment|d'images?|images?)",
    r"\bje ne (?:vois|distingue) (?:pas|aucune) (?:d'|l'|les |de )?(?:images?|photos?)",
    r"\bje (?:suis dans l'i(?:mpossibilite|ncapacite)|dois (?:refuser|decliner)|refuse de "
    + _FRENCH
    + r"|decline )",
    r"^(?:il m'est|il est) (?:impossible|difficile) (?:de |d')" + _FRENCH,
    r"\bil ne m'est pas possible|\bil n'est pas possible (?:de |d')" + _FRENCH,
    r"^(?:impossible|incapable) (?:de |d')(?:les? |la |l')?" + _FRENCH,
    r"^malheureusement,? (?:je|nous|il|ces?|cette|les?|la|aucune)\b",
    r"\baucune (?:image|photo) (?:n'(?:a|est)|fournie|jointe|recue)",
    r"\b(?:ich|wir) (?:kann|konnen|konnte|darf|durfen|werde) (?:[\w']+,? ){0,10}?"
    r"(?:nicht|keine?[nrms]?)\b.*\b" + _GERMAN,
    r"\b(?:kann|konnen|darf) (?:ich|wir) (?:[\w']+,? ){0,10}?(?:nicht|keine?[nrms]?)\b.*\b"
    + _GERMAN,
    r"\bich bin (?:\w+ ){0,2}nicht (?:in der lage|befugt|berechtigt|sicher)",
    r"\bich (?:sehe|habe) (?:leider )?keine? (?:bild|foto|information|zugriff)",
    r"^leider (?:kann|konnen|darf|ist|sind|habe|wurde)\b",
    r"\bkann nicht (?:identifiziert|bestimmt|erkannt|benannt) werden",
    r"\b(?:ik|we|wij) kan (?:[\w']+,? ){0,10}?(?:niet|geen)\b.*\b" + _DUTCH,
    r"\bkan ik (?:[\w']+,? ){0,10}?(?:niet|geen)\b.*\b" + _DUTCH,
    r"\bik ben (?:helaas )?niet in staat|^helaas (?:kan|is|zijn|heb)\b",
    r"\bno (?:puedo|podemos|podria|pude|me es posible|soy capaz de|estoy autorizad[oa] a"
    r"|estoy en condiciones de) (?:\w+ )?" + _SPANISH,
    r"\bno (?:tengo (?:acceso|la capacidad)|veo (?:ninguna|las?) imag|dispongo de)",
    r"^(?:desafortunad|lamentabl|desgraciad)\w*mente,? (?:no|las?|los|el|esta)\b",
    r"\bnon (?:posso|possiamo|potrei|riesco a|sono in grado di|mi e possibile"
    r"|sono autorizzat[oa] a|e possibile) (?:\w+ )?" + _ITALIAN,
    r"\bnon (?:ho (?:accesso|la capacita)|vedo (?:nessuna|le) immagin)",
    r"^purtroppo,? (?:non|le|la|il|questa)\b",
    r"\bnao (?:posso|podemos|poderia|consigo|sou capaz de|me e possivel|e possivel"
    r"|estou autorizad[oa] a) (?:\w+ )?" + _PORTUGUESE,
    r"\bnao (?:tenho (?:acesso|a capacidade)|vejo (?:nenhuma|as) imag)",
    r"^infelizmente,? (?:nao|eu|as?|esta)\b",
    r"\b(?:nie (?:moge|mozemy|jestem w stanie|mog[lł]\w+)|я не (?:могу|в состоянии)|мы не можем"
    r"|nemohu|nemuzu) (?:\w+ )?" + _SLAVIC,
    r"^(?:niestety,? nie|bohuzel|к сожалению|на жаль)\b",
    r"\b(?:jag|jeg) kan (?:\w+ ){0,2}(?:inte|ikke) (?:\w+ ){0,6}?" + _NORDIC,
    r"^(?:tyvarr|desværre|dessverre) (?:kan|er|ar)\b|^valitettavasti (?:en|ei)\b|^sajnos nem\b",
    r"\bnu (?:pot|putem) (?:sa )?(?:\w+ )?(?:ajut|identific|raspund|descri)",
    r"\bno puc (?:ajudar|identificar|respondre|descriure)|\bδεν μπορω να (?:βοηθ|αναγνωρ|προσδιορ)",
    r"^(?:很)?抱歉|^对不起|^我(?:无法|不能)|^作为(?:一个|一名)?(?:ai|人工智能)|^申し訳",
    # What only a program says of itself.
    r"(?:^|, |\bbut )as an? (?:\w+ ){0,3}?(?:ai|artificial intelligence|language model|llm|chatbot"
    r"|(?:virtual|digital|helpful|responsible|visual) assistant)\b",
    r"\b(?:i'?m|i am) (?:just |only )?an? (?:\w+ ){0,2}?(?:ai|language model|llm|ai \w+)\b",
    r"\ben tant (?:qu'|que )(?:\w+ ){0,3}?(?:ia|ai|intelligence artificielle|assistant"
    r"|modele (?:de langage|linguistique|d'ia|de vision))\b",
    r"\bje suis (?:seulement )?une? (?:ia|intelligence artificielle|modele de langage)\b",
    r"^als (?:\w+ ){0,3}?(?:ki|ai|kunstliche intelligenz|sprachmodell|taalmodel"
    r"|kunstmatige intelligentie)\b",
    r"\b(?:ich bin|ik ben) (?:nur |slechts )?(?:eine?|een) (?:ki|ai|sprachmodell|taalmodel)\b",
    r"^como (?:\w+ ){0,3}?(?:ia|inteligencia artificial|modelo de (?:lenguaje|linguagem|idioma)"
    r"|as[is]stente virtual)\b",
    r"^(?:come|in quanto|in qualita di) (?:\w+ ){0,3}?(?:ia|ai|intelligenza artificiale"
    r"|modello (?:linguistico|di linguaggio)|assistente virtuale)\b",
    r"^(?:jako|som|как) (?:\w+ ){0,3}?(?:ai|si|ии|sztuczna inteligencja|model jezykowy"
    r"|jazykovy model|sprakmodell?|sprogmodel|искусственныи интеллект|языковая модель)\b",
)

_THOUGHTS = (
    r"^(?:(?:okay|ok|alright|all right|hmm+|well|so|wait|now|first|right|bon|alors|voyons),? )*"
    r"(?:let me (?:think|look|see|start|check|analy[sz]e|examine|consider|describe|try)"
    r"|let'?s (?:think|look at (?:the|these)|start|analy[sz]e|examine|break)"
    r"|(?:i|we) (?:need|should|have|must|will|am asked|are asked)(?: to)? (?:name|label|find a"
    r"|give a|produce|output|answer|describe|analy[sz]e|look at|identify|come up with)"
    r"|the user (?:wants|asks|asked|is|has|provided|gave|sent|needs|would)\b|the task is "
    r"|l'utilisateur (?:veut|demande|souhaite|a)\b|je dois (?:nommer|trouver un|decrire))",
    r"^(?:okay|ok|alright|hmm+|wait)(?:$|, (?:so|i|the|let|we|these|this|here)\b)",
    r"^(?:here is|here'?s) my (?:thought|thinking|reasoning)|^(?:my )?thinking process\b",
)

_UNKNOWN = re.compile(
    r"(?:an? )?(?:unknown|unidentified|unidentifiable|undetermined|unlabell?ed|unnamed|unclear"
    r"|indeterminate)(?: (?:cluster|group|label|category|name))?"
    r"|(?:(?:groupe|categorie|cluster|nom) )?(?:inconnue?|non identifiee?|indetermin(?:ee?|able))"
    r"|none|null|undefined|n,? ?[ad]|k,? a|tbd|not (?:applicable|available|known|identifiable)"
    r"|no (?:label|name|answer|idea)|label|string|aucune?|rien|non (?:applicable|disponible)"
    r"|(?:pas de|sans|aucun) (?:nom|label|etiquette)|indisponible"
    r"|unbekannte?[rs]?|nicht (?:bekannt|identifizierbar|verfugbar)|keine?|keine angabe"
    r"|kein name|unbestimmt"
    r"|desconocid[oa]s?|ningun[oa]?|sin (?:nombre|etiqueta)|indeterminad[oa]|no disponible"
    r"|sconosciut[oaie]|ignot[oa]|nessun[oa]?|senza nome|non (?:disponibile|identificat[oaie])"
    r"|desconhecid[oa]s?|nenhuma?|sem nome|nao (?:identificad[oa]|disponivel)"
    r"|onbekend|geen|niet (?:bekend|beschikbaar)|nieznan[yae]|brak"
    r"|okand|okant|ukendt|ukjent|ingen|tuntematon|neznam[yae]|ismeretlen|necunoscut"
    r"|неизвестн\w+|нет|αγνωστ\w+|未知|不明"
)


def _folded(text: str) -> str:
    """A text as patterns have it: no capitals, accents or marks, and each pause as ``, ``."""
    text = text[:_LOOKED_AT].casefold().translate(_APOSTROPHES)
    letters = unicodedata.normalize("NFKD", text)
    plain = "".join(c for c in letters if not unicodedata.combining(c))
    plain = _OTHER.sub(" ", _PAUSE.sub(",", plain))
    return ", ".join(filter(None, (" ".join(part.split()) for part in plain.split(",")))) + (
        "," if plain.rstrip().endswith(",") else ""
    )


_APOLOGY = re.compile(
    rf"^(?:(?:oh|ah|well|hmm+|hello|hi|bonjour|hallo|hola),? )?(?:"
    rf"(?:{'|'.join(_WHOLE_APOLOGIES)})(?:,|$| {_BUT}\b| (?:that (?:i|the|th[ie]se?)"
    r"|for (?:the|any) (?:confusion|inconvenience|misunderstanding)|de ne|di non|dass ich)\b)"
    rf"|(?:{_SHORT_APOLOGIES})(?:,?$|,? {_BUT}\b"
    r"|, (?:i (?:can|could|am (?:un|not)|do|won'?t)|i'?m un|je ne |unable ))"
    rf"|(?:{_COURTESIES}),? {_BUT}\b)"
)
_SAID = re.compile("|".join((*_REFUSALS, *_THOUGHTS)))


def is_no_name(text: str) -> bool:
    """Whether a model declines in a text, or thinks aloud, in place of naming anything."""
    folded = _folded(text).lstrip("' ")
    return bool(_APOLOGY.search(folded) or _SAID.search(folded))


def is_unknown(text: str) -> bool:
    """Whether a label says that there is none: "unknown", "n/a", "inconnu", or marks alone."""
    folded = _folded(text).strip("', ")
    if not folded:
        return not any(unicodedata.category(c) == "So" for c in text)  # emoji name something
    return bool(_UNKNOWN.fullmatch(folded))
