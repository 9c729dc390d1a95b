"""Typical documents of several formats, written for the benchmarks."""

from __future__ import annotations

from tests.messages.documents import BOOK


def _stream(number: int, payer: str, receiver: str, rate: str, *, resets: str = "") -> str:
    return f"""
      <swapStream id="stream{number}">
        <payerPartyReference href="{payer}"/>
        <receiverPartyReference href="{receiver}"/>
        <calculationPeriodDates id="calculationPeriodDates{number}">
          <effectiveDate>
            <unadjustedDate>2024-03-06</unadjustedDate>
            <dateAdjustments><businessDayConvention>NONE</businessDayConvention></dateAdjustments>
          </effectiveDate>
          <terminationDate>
            <unadjustedDate>2029-03-06</unadjustedDate>
            <dateAdjustments>
              <businessDayConvention>MODFOLLOWING</businessDayConvention>
              <businessCenters id="centers{number}">
                <businessCenter>EUTA</businessCenter>
                <businessCenter>GBLO</businessCenter>
              </businessCenters>
            </dateAdjustments>
          </terminationDate>
          <calculationPeriodDatesAdjustments>
            <businessDayConvention>MODFOLLOWING</businessDayConvention>
            <businessCentersReference href="centers{number}"/>
          </calculationPeriodDatesAdjustments>
          <calculationPeriodFrequency><periodMultiplier>6</periodMultiplier><period>M</period><rollConvention>6</rollConvention></calculationPeriodFrequency>
        </calculationPeriodDates>
        <paymentDates>
          <calculationPeriodDatesReference href="calculationPeriodDates{number}"/>
          <paymentFrequency><periodMultiplier>6</periodMultiplier><period>M</period></paymentFrequency>
          <payRelativeTo>CalculationPeriodEndDate</payRelativeTo>
          <paymentDatesAdjustments>
            <businessDayConvention>MODFOLLOWING</businessDayConvention>
            <businessCentersReference href="centers{number}"/>
          </paymentDatesAdjustments>
        </paymentDates>{resets}
        <calculationPeriodAmount>
          <calculation>
            <notionalSchedule>
              <notionalStepSchedule><initialValue>25000000.00</initialValue><currency currencyScheme="http://www.fpml.org/coding-scheme/external/iso4217">EUR</currency></notionalStepSchedule>
            </notionalSchedule>
            {rate}
            <dayCountFraction dayCountFractionScheme="http://www.fpml.org/coding-scheme/day-count-fraction">ACT/360</dayCountFraction>
          </calculation>
        </calculationPeriodAmount>
      </swapStream>"""


_RESETS = """
        <resetDates id="resetDates2">
          <calculationPeriodDatesReference href="calculationPeriodDates2"/>
          <resetRelativeTo>CalculationPeriodStartDate</resetRelativeTo>
          <fixingDates>
            <periodMultiplier>-2</periodMultiplier>
            <period>D</period>
            <dayType>Business</dayType>
            <businessDayConvention>NONE</businessDayConvention>
            <businessCenters><businessCenter>EUTA</businessCenter></businessCenters>
            <dateRelativeTo href="resetDates2"/>
          </fixingDates>
          <resetFrequency><periodMultiplier>6</periodMultiplier><period>M</period></resetFrequency>
          <resetDatesAdjustments>
            <businessDayConvention>MODFOLLOWING</businessDayConvention>
            <businessCentersReference href="centers2"/>
          </resetDatesAdjustments>
        </resetDates>"""
_FIXED = "<fixedRateSchedule><initialValue>0.0275</initialValue></fixedRateSchedule>"
_FLOATING = (
    "<floatingRateCalculation><floatingRateIndex>EUR-EURIBOR</floatingRateIndex>"
    "<indexTenor><periodMultiplier>6</periodMultiplier><period>M</period></indexTenor></floatingRateCalculation>"
)


def _party(key: str, lei: str, name: str) -> str:
    return f"""
  <party id="{key}">
    <partyId partyIdScheme="http://www.fpml.org/coding-scheme/external/iso17442">{lei}</partyId>
    <partyName>{name}</partyName>
    <contactInfo>
      <telephone><telephoneType>Work</telephoneType><number>+44 20 5550 0100</number></telephone>
      <email>confirmations@{key}.example</email>
    </contactInfo>
  </party>"""


def _identifier(party: str, trade_id: str) -> str:
    return f"""
      <partyTradeIdentifier>
        <partyReference href="{party}"/>
        <tradeId tradeIdScheme="http://www.{party}.example/trade-id">{trade_id}</tradeId>
        <tradeId tradeIdScheme="http://www.fpml.org/coding-scheme/external/unique-transaction-identifier">5493001KJTIIGC8Y1R12T10045</tradeId>
      </partyTradeIdentifier>"""


def _information(party: str) -> str:
    return f"""
      <partyTradeInformation>
        <partyReference href="{party}"/>
        <relatedParty><partyReference href="broker"/><role>ExecutingBroker</role></relatedParty>
        <executionDateTime>2024-03-04T09:30:00Z</executionDateTime>
        <timestamps><orderEntered>2024-03-04T09:28:41Z</orderEntered><confirmed>2024-03-04T11:02:10Z</confirmed></timestamps>
        <intentToClear>true</intentToClear>
        <clearingStatus>Submitted</clearingStatus>
        <collateralizationType>Fully</collateralizationType>
        <reportingRegime>
          <name>EMIR</name>
          <supervisorRegistration><supervisoryBody>ESMA</supervisoryBody></supervisorRegistration>
          <reportingRole>ReportingParty</reportingRole>
        </reportingRegime>
      </partyTradeInformation>"""


FPML = f"""<?xml version="1.0" encoding="UTF-8"?>
<requestConfirmation xmlns="http://www.fpml.org/FpML-5/confirmation" fpmlVersion="5-10">
  <header>
    <messageId messageIdScheme="http://www.northgate.example/message-id">NG-20240304-000181</messageId>
    <sentBy messageAddressScheme="http://www.fpml.org/coding-scheme/external/iso17442">5493001KJTIIGC8Y1R12</sentBy>
    <sendTo messageAddressScheme="http://www.fpml.org/coding-scheme/external/iso17442">549300KESTRELCAP0071</sendTo>
    <creationTimestamp>2024-03-04T09:30:02Z</creationTimestamp>
  </header>
  <isCorrection>false</isCorrection>
  <correlationId correlationIdScheme="http://www.northgate.example/correlation-id">NG-C-77120</correlationId>
  <sequenceNumber>1</sequenceNumber>
  <onBehalfOf><partyReference href="northgate"/></onBehalfOf>
  <trade>
    <tradeHeader>{_identifier("northgate", "NG-T-10045")}{_identifier("kestrel", "KC 2962")}{_information("northgate")}{
    _information("kestrel")
}
      <tradeDate>2024-03-04</tradeDate>
    </tradeHeader>
    <swap>
      <primaryAssetClass>InterestRate</primaryAssetClass>
      <productType productTypeScheme="http://www.fpml.org/coding-scheme/product-taxonomy">InterestRate:IRSwap:FixedFloat</productType>
      <productId productIdScheme="http://www.fpml.org/coding-scheme/external/iso4914">QZ17F5PN51JM</productId>{
    _stream(1, "northgate", "kestrel", _FIXED)
}{_stream(2, "kestrel", "northgate", _FLOATING, resets=_RESETS)}
    </swap>
    <documentation>
      <masterAgreement><masterAgreementType>ISDA</masterAgreementType><masterAgreementDate>2011-05-17</masterAgreementDate></masterAgreement>
      <contractualDefinitions>ISDA2021</contractualDefinitions>
    </documentation>
    <governingLaw>GBEN</governingLaw>
  </trade>{_party("northgate", "5493001KJTIIGC8Y1R12", "Northgate Bank")}{_party("kestrel", "549300KESTRELCAP0071", "Kestrel Capital")}{
    _party("broker", "549300MERIDIANBRK066", "Meridian Brokers")
}
</requestConfirmation>
"""

FIXML = """<?xml version="1.0" encoding="UTF-8"?>
<FIXML xmlns="http://www.fixprotocol.org/FIXML-5-0-SP2" v="5.0 SP2">
  <TrdCaptRpt RptID="R-000181" TransTyp="0" RptTyp="0" TrdID="104512" TrdID2="NG-T-10045" TrdTyp="0" LastQty="25" LastPx="98.765"
      TrdDt="2024-03-04" BizDt="2024-03-04" MtchStat="0" TxnTm="2024-03-04T09:30:00Z" LastUpdateTm="2024-03-04T09:30:02Z">
    <Hdr SID="VENUE" TID="NORTHGATE" Snt="2024-03-04T09:30:02Z" SeqNum="181"/>
    <Instrmt Sym="SR3" ID="SR3" Src="H" SecTyp="FUT" CFI="FFDPSX" MMY="202409" Exch="XCME"/>
    <Amt Typ="FMTM" Amt="1250.50" Ccy="USD"/>
    <RptSide Side="1" ClOrdID="O-77120" InptDev="API">
      <Pty ID="NORTHGATE" R="1"/><Pty ID="KESTREL" R="17"/><Pty ID="CCP" R="21"/><Pty ID="A-1001" R="24"><Sub ID="1" Typ="26"/></Pty>
    </RptSide>
  </TrdCaptRpt>
</FIXML>
"""

AUTH_030 = """<?xml version="1.0" encoding="UTF-8"?>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:auth.030.001.03">
  <DerivsTradRpt>
    <RptHdr><RptgNttyId><LEI>5493001KJTIIGC8Y1R12</LEI></RptgNttyId><NbRcrds>1</NbRcrds></RptHdr>
    <TradData>
      <Rpt>
        <New>
          <CtrPtySpcfcData>
            <CtrPty>
              <RptgCtrPty><Id><Lgl><Id><LEI>5493001KJTIIGC8Y1R12</LEI></Id></Lgl></Id><DrctnOrSd><CtrPtySd>BYER</CtrPtySd></DrctnOrSd></RptgCtrPty>
              <OthrCtrPty><IdTp><Lgl><Id><LEI>549300KESTRELCAP0071</LEI></Id></Lgl></IdTp></OthrCtrPty>
              <SubmitgAgt><LEI>5493001KJTIIGC8Y1R12</LEI></SubmitgAgt>
            </CtrPty>
            <RptgTmStmp>2024-03-05T08:00:00Z</RptgTmStmp>
          </CtrPtySpcfcData>
          <CmonTradData>
            <CtrctData>
              <CtrctTp>SWAP</CtrctTp><AsstClss>INTR</AsstClss><PdctClssfctn>SRCCSP</PdctClssfctn>
              <PdctId><UnqPdctIdr><Id>QZ17F5PN51JM</Id></UnqPdctIdr></PdctId>
              <SttlmCcy><Ccy>EUR</Ccy></SttlmCcy>
            </CtrctData>
            <TxData>
              <TxId><UnqTxIdr>5493001KJTIIGC8Y1R12T10045</UnqTxIdr></TxId>
              <CollPrtflCd><Prtfl><Cd>NG-PORTFOLIO-1</Cd></Prtfl></CollPrtflCd>
              <PltfmIdr>XOFF</PltfmIdr>
              <TxPric><Pric><Rate>2.75</Rate></Pric></TxPric>
              <NtnlAmt>
                <FrstLeg><Amt><Amt Ccy="EUR">25000000</Amt></Amt></FrstLeg>
                <ScndLeg><Amt><Amt Ccy="EUR">25000000</Amt></Amt></ScndLeg>
              </NtnlAmt>
              <DlvryTp>CASH</DlvryTp>
              <ExctnTmStmp>2024-03-04T09:30:00Z</ExctnTmStmp>
              <FctvDt>2024-03-06</FctvDt>
              <XprtnDt>2029-03-06</XprtnDt>
              <MstrAgrmt><Tp><Tp>ISDA</Tp></Tp><Vrsn>2011</Vrsn></MstrAgrmt>
              <TradConf><Confd><Tp>ECNF</Tp><TmStmp>2024-03-04T11:02:10Z</TmStmp></Confd></TradConf>
              <TradClr><ClrSts><NonClrd><Rsn><NoClrng/></Rsn></NonClrd></ClrSts></TradClr>
              <DerivEvt><Tp>TRAD</Tp><TmStmp><Dt>2024-03-04</Dt></TmStmp></DerivEvt>
            </TxData>
          </CmonTradData>
          <Lvl>TCTN</Lvl>
        </New>
      </Rpt>
    </TradData>
  </DerivsTradRpt>
</Document>
"""

TYPICAL = {
    "native TradeStatus": BOOK,
    "FpML 5 requestConfirmation": FPML,
    "FIXML TrdCaptRpt": FIXML,
    "ISO 20022 auth.030": AUTH_030,
}
